"PlanInfo: the layers that a lock plans for one of its roots."

PlanInfo = provider(
    doc = """The layers that `strata lock` planned for a root.

The root targets of a lock's repository (`@store//:web`) make it beside StorePathInfo, so that `image` need not group
what the lock has grouped, and all images over a root share its layers.
""",
    fields = {
        "layers": "tuple of LayerInfo. The planned layers, lowest first; each store path of the root's closure is in exactly one.",
        "max_layers": "int, 1 to 125. The limit that the plan kept to: `layering.max_layers` of the project file. The default of `image`'s own.",
        "root": "string. The root's name in the lock, as `web`.",
    },
)
