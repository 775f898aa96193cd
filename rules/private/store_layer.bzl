"The rule store_layer."

load("@bazel_skylib//rules:common_settings.bzl", "BuildSettingInfo")
load(":layer_action.bzl", "COMPRESSIONS", "LAYER_TOOLCHAIN_TYPE", "layer_action")
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
    layer = layer_action(
        ctx,
        name = ctx.label.name,
        entries = entries.values(),
        compression = ctx.attr.compression or ctx.attr._compression[BuildSettingInfo].value,
    )
    return [
        DefaultInfo(files = depset([layer.blob])),
        OutputGroupInfo(
            blob = depset([layer.blob]),
            digest_file = depset([layer.digest_file]),
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

The default output is the blob; output group `digest_file` is the JSON that says what is in it.
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
        "_compression": attr.label(
            default = "//:compression",
            providers = [BuildSettingInfo],
        ),
    },
    provides = [LayerInfo],
    cfg = layer_configuration,
    toolchains = [LAYER_TOOLCHAIN_TYPE],
)
