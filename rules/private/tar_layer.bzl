"The rule tar_layer."

load(":files_action.bzl", "FILES_TOOLCHAIN_TYPE", "files_args", "files_layer", "layer_providers")
load(":layer_action.bzl", "COMPRESSIONS")

# A file name's end -> how the file is compressed.
_ENDS = {
    ".gz": "gzip",
    ".tar": "none",
    ".tgz": "gzip",
    ".tzst": "zstd",
    ".zst": "zstd",
}

def _tar_layer_impl(ctx):
    tar = ctx.file.tar
    compression = ctx.attr.compression
    if not compression:
        for end, of in _ENDS.items():
            if tar.basename.endswith(end):
                compression = of
        if not compression:
            fail("tar: %s: how it is compressed can't be seen from its name (%s); say it by `compression`" % (tar.basename, ", ".join(_ENDS)))
    digest_file = ctx.actions.declare_file(ctx.label.name + ".json")
    args = files_args(ctx)
    args.add("tar")
    args.add(tar, format = "--tar=%s")
    args.add(digest_file, format = "--digest-file=%s")
    args.add(compression, format = "--compression=%s")
    ctx.actions.run(
        executable = ctx.toolchains[FILES_TOOLCHAIN_TYPE].tool,
        arguments = [args],
        inputs = [tar],
        outputs = [digest_file],
        mnemonic = "StrataFiles",
        progress_message = "Reading layer %{label}",
        execution_requirements = {"supports-path-mapping": "1"},
        toolchain = FILES_TOOLCHAIN_TYPE,
    )
    return layer_providers(files_layer(ctx, tar, digest_file, compression))

tar_layer = rule(
    implementation = _tar_layer_impl,
    doc = """Takes a tar as a layer, byte for byte: the way in for what rules_pkg, rules_oci and others make.

```starlark
tar_layer(
    name = "tree",
    tar = ":pkg_tar_target",
)
```

Nothing is copied: the blob is the file itself. The action (`StrataFiles`) reads it once for its digests, and refuses a
tar that is cut off, or whose names are absolute or lead out by `..`. What it has of store paths may not be another layer's:
`image` refuses it then. To change what is in it, or to merge it with
other files, take `tars` of `file_layer`.
""",
    attrs = {
        "tar": attr.label(
            mandatory = True,
            allow_single_file = True,
            doc = "The tar: plain, gzip or zstd.",
        ),
        "compression": attr.string(
            values = [""] + COMPRESSIONS,
            doc = "How it is compressed: `gzip`, `zstd` or `none`. By default as its name says: `.tar`, `.tar.gz`, `.tgz`, `.tar.zst`, `.tzst`.",
        ),
    },
    toolchains = [FILES_TOOLCHAIN_TYPE],
)
