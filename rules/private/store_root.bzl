"The rule store_root: what a lock's repository calls `@store//:web`."

load(":layer_configuration.bzl", "layer_configuration")
load(":layer_selection.bzl", "plan_error")
load(":providers/layer_info.bzl", "LayerInfo")
load(":providers/plan_info.bzl", "PlanInfo")
load(":providers/store_path_info.bzl", "StorePathInfo", "store_path_info")

def _store_root_impl(ctx):
    info = ctx.attr.path[StorePathInfo]
    layers = [d[LayerInfo] for d in ctx.attr.layers]
    error = plan_error(info.closure.to_list(), layers)
    if error:
        fail("the lock's plan for %s on %s: %s; run `strata lock` to plan anew" % (ctx.attr.root, ctx.attr.system, error))
    return [
        DefaultInfo(files = ctx.attr.path[DefaultInfo].files),
        store_path_info(
            entry = info.entry,
            system = ctx.attr.system,
            closure = info.closure,
        ),
        PlanInfo(
            layers = tuple(layers),
            max_layers = ctx.attr.max_layers,
            root = ctx.attr.root,
        ),
        OutputGroupInfo(
            digest_files = depset([layer.digest_file for layer in layers]),
            layers = depset([layer.blob for layer in layers]),
        ),
    ]

store_root = rule(
    implementation = _store_root_impl,
    doc = "A lock's root: its store path with closure, the system it was locked for, and the layers planned for it. Made by the lock's repository alone.",
    attrs = {
        "path": attr.label(
            mandatory = True,
            providers = [StorePathInfo],
            doc = "The root's store path.",
        ),
        "layers": attr.label_list(
            mandatory = True,
            providers = [LayerInfo],
            doc = "The planned layers, lowest first.",
        ),
        "max_layers": attr.int(
            mandatory = True,
            doc = "The limit that the plan kept to.",
        ),
        "root": attr.string(
            mandatory = True,
            doc = "The root's name in the lock.",
        ),
        "system": attr.string(
            mandatory = True,
            doc = "The system, as `x86_64-linux`.",
        ),
    },
    provides = [
        PlanInfo,
        StorePathInfo,
    ],
    cfg = layer_configuration,
)
