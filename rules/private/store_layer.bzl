"The rule store_layer."

load("@bazel_skylib//rules:common_settings.bzl", "BuildSettingInfo")
load(":layer_action.bzl", "COMPRESSIONS", "LAYER_TOOLCHAIN_TYPE", "layer_action", "layer_options")
load(":layer_configuration.bzl", "layer_configuration")
load(":providers/layer_info.bzl", "LayerInfo")
load(":providers/store_path_info.bzl", "StorePathInfo")

def _store_layer_impl(ctx):
    entries = {}
    for target in ctx.attr.paths:
        entry = target[StorePathInfo].entry
        if entry.path in entries:
            fail("paths: %s is there twice, as %s and %s" % (entry.path, entries[entry.path].label, target.label))
        entries[entry.path] = entry
    if ctx.attr.strip_prefix and len(entries) > 1:
        fail("strip_prefix: want one store path in paths, found %d: their files could not be told apart" % len(entries))
    if ctx.attr.owner_names and not ctx.attr.owner:
        fail("owner_names: want owner too; names without numbers are no owner")
    layer = layer_action(
        ctx,
        name = ctx.label.name,
        entries = entries.values(),
        compression = ctx.attr.compression or ctx.attr._compression[BuildSettingInfo].value,
        options = layer_options(
            level = ctx.attr.level,
            allow_whiteout_names = ctx.attr.allow_whiteout_names,
            owner = ctx.attr.owner,
            owner_names = ctx.attr.owner_names,
            mtime = ctx.attr.mtime,
            strip_prefix = ctx.attr.strip_prefix,
            exclude = ctx.attr.exclude,
            modes = ctx.attr.modes,
        ),
        stripped = bool(ctx.attr.strip_prefix),
        altered = bool(ctx.attr.exclude or ctx.attr.modes),
        mtree = ctx.attr.mtree,
    )
    return [
        DefaultInfo(files = depset([layer.blob])),
        OutputGroupInfo(
            blob = depset([layer.blob]),
            digest_file = depset([layer.digest_file]),
            mtree = depset([layer.mtree] if layer.mtree else []),
        ),
        layer,
    ]

store_layer = rule(
    implementation = _store_layer_impl,
    doc = """Makes one layer out of store paths: exactly those named, not what they refer to.

A lock's repository has the planned ones (`@store//layer:...`), and `image` uses them without being told. Declare one by
hand to say what goes together:

```starlark
store_layer(
    name = "libc",
    paths = ["@store//path:fkrb1qrhrnbscg7h6adzd8zp536bkfgb-glibc-2.36-9"],
)

image(
    name = "image",
    contents = ["@store//:web"],
    layers = [":libc"],  # the rest of the closure follows by plan
)
```

The layer is one action (`StrataLayer`) however many images use it, and whatever configuration they are built in. It
checks each NAR's hash over the very bytes that it writes.

The default output is the blob; output group `digest_file` is the JSON that says what is in it, and `mtree` the
listing that `mtree = True` asks for.

What a store path's files are like in the layer can be changed: owner, time and permissions, and what is left out. With
`strip_prefix` they don't even stay in the store: a *customisation layer* holds what an image needs beside its store
paths, such as `/etc/passwd`:

```starlark
store_layer(
    name = "etc",
    paths = ["@store//path:0a1b2c3d4e5f6g7h8i9j0k1l2m3n4p5q-my-etc"],
    strip_prefix = ".",
    modes = {"tmp": "1777"},
)
```

Patterns are matched against paths relative to the store path: `*` and `?` stand for bytes of one name, `**` as a
component for any number of components, a backslash takes the next byte as it is, and `.` alone is the store path itself.
""",
    attrs = {
        "paths": attr.label_list(
            mandatory = True,
            allow_empty = False,
            providers = [StorePathInfo],
            doc = "The `store_path`s, in any order: a layer does not depend on it.",
        ),
        "compression": attr.string(
            values = [""] + COMPRESSIONS,
            doc = "How the blob is compressed: `gzip`, `zstd` or `none`. By default as the flag `//:compression` says, for all layers alike.",
        ),
        "level": attr.string(
            doc = "How hard the blob is compressed: `fastest`, `default`, `best` or a number (1 to 9 for gzip, 1 to 22 for zstd). By default `default`.",
        ),
        "allow_whiteout_names": attr.bool(
            doc = "Whether names that begin with `.wh.` pass as they are; otherwise they are an error, since container runtimes take them for orders to remove files.",
        ),
        "owner": attr.string(
            doc = "Whom all in the store paths belongs to, as `UID:GID`. By default `0:0`, by name `root:root`.",
        ),
        "owner_names": attr.string(
            doc = "The owner's names, as `USER:GROUP`. Some tools prefer them to the numbers when they unpack. By default an `owner` has none.",
        ),
        "mtime": attr.int(
            default = 1,
            doc = "The time of all entries, in seconds since 1970. By default 1, as in a Nix store.",
        ),
        "strip_prefix": attr.string(
            doc = "A directory of the only store path in `paths`, `.` for the store path itself: what is in it comes to stand at the image's root. " +
                  "The store path itself is not in the layer then, so an image may have it in another one.",
        ),
        "exclude": attr.string_list(
            doc = "Patterns of what is left out, directories with all that is in them.",
        ),
        "modes": attr.string_dict(
            doc = "Permissions by pattern, in octal digits, such as `{\"bin/*\": \"0755\"}`; of several patterns that match the last one counts. For files and directories: symlinks have none.",
        ),
        "mtree": attr.bool(
            doc = "Whether the action writes a listing of the layer too (output group `mtree`), for reviews and tests.",
        ),
        "_compression": attr.label(
            default = "//:compression",
            providers = [BuildSettingInfo],
        ),
    },
    provides = [LayerInfo],
    cfg = layer_configuration,
    toolchains = [LAYER_TOOLCHAIN_TYPE],
)
