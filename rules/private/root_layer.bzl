"The rule root_layer."

load(":files_action.bzl", "FILES_TOOLCHAIN_TYPE", "add_entries", "entry", "files_action", "files_args", "layer_providers")
load(":image_paths.bzl", "path_error")
load(":layer_attributes.bzl", "LAYER_ATTRIBUTES", "layer_arguments", "layer_compression")
load(":providers/store_path_info.bzl", "StorePathInfo")

def _root_layer_impl(ctx):
    for name in ["prefix", "subdirs"]:
        value = getattr(ctx.attr, name)
        for path in [value] if name == "prefix" else value:
            error = path_error(path, root = name == "prefix")
            if error:
                fail("%s: %r: %s" % (name, path, error))
    args = files_args(ctx)
    add_entries(args, [
        entry(
            "copies" if ctx.attr.copy else "links",
            root = root[StorePathInfo].path,
            path = ctx.attr.prefix or None,
            subdirs = ctx.attr.subdirs or None,
            by = "roots: %s" % root.label,
        )
        for root in ctx.attr.roots
    ])
    options = ["--exclude=" + pattern for pattern in ctx.attr.exclude]
    if ctx.attr.collisions != "error":
        options.append("--collisions=" + ctx.attr.collisions)
    return layer_providers(files_action(
        ctx,
        entries = [args],
        compression = layer_compression(ctx),
        options = layer_arguments(ctx) + options,
        roots = [root[StorePathInfo].entry for root in ctx.attr.roots],
        mtree = ctx.attr.mtree,
    ))

root_layer = rule(
    implementation = _root_layer_impl,
    doc = """Makes a layer of links from the image's root to what is in store paths: `/bin/bash -> /nix/store/...-bash/bin/bash`.

```starlark
root_layer(
    name = "root",
    roots = [
        "@store//:bash",
        "@store//:coreutils",
    ],
)

image(
    name = "image",
    cmd = ["/bin/bash"],
    contents = [
        "@store//:bash",
        "@store//:coreutils",
    ],
    layers = [":root"],
)
```

Directories that several roots have are one, with what each has in it (as `symlinkJoin`, `buildEnv` and Guix's profiles
do; a link to a directory in the same store path counts as that directory). Two files for one place are an error that
names both store paths, unless they lead to the same file in the end, or `collisions` says which is taken: the order of
`roots` is their priority then.

The store paths themselves are not in the layer: they must be in the image, or the build fails (`include_store_paths`
of `image`). The action is `StrataFiles`; it reads the NARs of `roots`, not of their closures.
""",
    attrs = LAYER_ATTRIBUTES | {
        "roots": attr.label_list(
            mandatory = True,
            allow_empty = False,
            providers = [StorePathInfo],
            doc = "Roots of a lock, or `store_path`s, each a directory.",
        ),
        "subdirs": attr.string_list(
            doc = "The directories of `roots` that are linked, as `[\"bin\", \"share/man\"]` (`pathsToLink`). By default all.",
        ),
        "prefix": attr.string(
            doc = "The directory of the image where the links are, as `usr/local`. By default the root.",
        ),
        "copy": attr.bool(
            doc = "Whether files are copied in place of linked. Symlinks stay as they are, so what they lead to must be in the image, and so must what copied programs refer to.",
        ),
        "collisions": attr.string(
            default = "error",
            values = ["error", "first", "last"],
            doc = "What to do where two roots have a file for one place: `first` takes that of the root named first.",
        ),
        "exclude": attr.string_list(
            doc = "Patterns of what is left out, directories with all that is in them; as for `file_layer`. One that matches nothing is an error.",
        ),
    },
    toolchains = [FILES_TOOLCHAIN_TYPE],
)
