"The rule image."

load("@bazel_skylib//rules:common_settings.bzl", "BuildSettingInfo")
load(":image_settings.bzl", "check_settings")
load(":layer_action.bzl", "LAYER_TOOLCHAIN_TYPE", "layer_action")
load(":layer_selection.bzl", "DEFAULT_MAX_LAYERS", "MAX_LAYERS", "layer_limit", "select_layers")
load(":providers/image_info.bzl", "ImageInfo")
load(":providers/layer_info.bzl", "LayerInfo")
load(":providers/plan_info.bzl", "PlanInfo")
load(":providers/store_path_info.bzl", "StorePathInfo")

IMAGE_TOOLCHAIN_TYPE = Label("//rules/toolchain:image_toolchain_type")

_PATH_MAPPING = {"supports-path-mapping": "1"}

def _image_impl(ctx):
    check_settings(ctx.attr)
    layers = _layers(ctx)
    config, manifest, descriptor, digest = _manifest(ctx, layers)
    archive = _archive(ctx, config, manifest, layers)
    layout = _layout(ctx, config, manifest, layers)
    return [
        DefaultInfo(files = depset([archive])),
        OutputGroupInfo(
            config = depset([config]),
            descriptor = depset([descriptor]),
            digest = depset([digest]),
            digest_files = depset([layer.digest_file for layer in layers]),
            layers = depset([layer.blob for layer in layers]),
            layout = depset([layout]),
            manifest = depset([manifest]),
        ),
        ImageInfo(
            config = config,
            descriptor = descriptor,
            digest = digest,
            layers = tuple(layers),
            manifest = manifest,
            repo_tags = tuple(ctx.attr.repo_tags),
        ),
    ]

def _layers(ctx):
    max_layers, error = layer_limit(
        ctx.attr.max_layers,
        [d[PlanInfo].max_layers if PlanInfo in d else 0 for d in ctx.attr.contents],
    )
    if error:
        fail(error)
    explicit = [d[LayerInfo] for d in ctx.attr.layers]
    contents = ctx.attr.contents if ctx.attr.include_store_paths else []
    selection = select_layers(
        closure = depset(transitive = [d[StorePathInfo].closure for d in contents]).to_list(),
        explicit = explicit,
        planned = [layer for d in contents if PlanInfo in d for layer in d[PlanInfo].layers],
        max_layers = max_layers,
        complete = ctx.attr.include_store_paths,
    )
    if selection.error:
        fail(selection.error)
    if not selection.layers and not selection.added and not selection.top:
        fail("contents: the image is empty; name a root of a lock, such as @store//:web")

    layers = list(selection.layers)
    for entries in selection.added:
        name = entries[0].path.rpartition("/")[2]
        layers.append(layer_action(
            ctx,
            name = "%s.layers/%s" % (ctx.label.name, name if len(entries) == 1 else "rest"),
            entries = entries,
            compression = ctx.attr._compression[BuildSettingInfo].value,
        ))
    return layers + selection.top

def _system(ctx):
    systems = {d[StorePathInfo].system: d.label for d in ctx.attr.contents if d[StorePathInfo].system}
    if ctx.attr.system:
        for system, label in systems.items():
            if system != ctx.attr.system:
                fail("system: %s, but %s in contents is for %s" % (ctx.attr.system, label, system))
        return ctx.attr.system
    if len(systems) > 1:
        fail("contents: %s; an image is for one system" % ", ".join(["%s is for %s" % (label, system) for system, label in systems.items()]))
    if not systems:
        fail("system: nothing in contents says which system it is for; set it, as \"x86_64-linux\"")
    return systems.keys()[0]

def _manifest(ctx, layers):
    "Declares the action that reads digest files and settings, and nothing else."
    settings = ctx.actions.declare_file(ctx.label.name + ".settings.json")
    ctx.actions.write(settings, json.encode_indent({
        name: value
        for name, value in {
            "cmd": ctx.attr.cmd,
            "entrypoint": ctx.attr.entrypoint,
            "env": ["%s=%s" % (name, value) for name, value in ctx.attr.env.items()],
            "exposedPorts": ctx.attr.ports,
            "labels": ctx.attr.labels,
            "stopSignal": ctx.attr.stop_signal,
            "system": _system(ctx),
            "user": ctx.attr.user,
            "volumes": ctx.attr.volumes,
            "workingDir": ctx.attr.workdir,
        }.items()
        if value
    }) + "\n")

    config = ctx.actions.declare_file(ctx.label.name + ".config.json")
    manifest = ctx.actions.declare_file(ctx.label.name + ".manifest.json")
    descriptor = ctx.actions.declare_file(ctx.label.name + ".descriptor.json")
    digest = ctx.actions.declare_file(ctx.label.name + ".digest")
    args = _args(ctx, "manifest")
    args.add(settings, format = "--settings=%s")
    args.add_all([layer.digest_file for layer in layers], format_each = "--layer=%s")
    args.add(config, format = "--config-output=%s")
    args.add(manifest, format = "--manifest-output=%s")
    args.add(descriptor, format = "--descriptor-output=%s")
    args.add(digest, format = "--digest-output=%s")
    _run(
        ctx,
        args,
        mnemonic = "StrataImage",
        progress_message = "Writing image manifest %{label}",
        inputs = [settings] + [layer.digest_file for layer in layers],
        outputs = [config, manifest, descriptor, digest],
        requirements = _PATH_MAPPING,
    )
    return config, manifest, descriptor, digest

def _archive(ctx, config, manifest, layers):
    archive = ctx.actions.declare_file(ctx.label.name + ".tar")
    args = _parts_args(ctx, "archive", config, manifest, layers)
    args.add(archive, format = "--output=%s")
    _run(
        ctx,
        args,
        mnemonic = "StrataArchive",
        progress_message = "Writing image archive %{label}",
        inputs = _parts(config, manifest, layers),
        outputs = [archive],
        requirements = _PATH_MAPPING | {
            # Neither in a remote cache nor in the disk cache (`no-remote-cache` keeps it out of the former only): it is
            # the layers over again, whose blobs are there already, and put together as fast as it would be read.
            "no-cache": "1",
        },
    )
    return archive

def _layout(ctx, config, manifest, layers):
    layout = ctx.actions.declare_directory(ctx.label.name + ".layout")
    args = _parts_args(ctx, "layout", config, manifest, layers)
    args.add_all([layout], format_each = "--output-dir=%s", expand_directories = False)
    _run(
        ctx,
        args,
        mnemonic = "StrataLayout",
        progress_message = "Writing image layout %{label}",
        inputs = _parts(config, manifest, layers),
        outputs = [layout],
        # Its blobs are relative links out of the directory to the layers' files, which Bazel allows since 7.1. So it
        # - runs here, where Bazel then has the blobs: a remote executor's links would lead nowhere;
        # - is in no cache: that would follow the links, and give back copies (tried: disk cache of Bazel 7.7);
        # - has no path mapping, which would put it elsewhere than the links were made for.
        # In a sandbox the links lead to the sandbox's links to the blobs, and to the blobs themselves once Bazel has
        # moved the directory out. `bazel clean` removes both ends.
        requirements = {
            "no-cache": "1",
            "no-remote-exec": "1",
        },
    )
    return layout

def _args(ctx, command):
    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add(command)
    return args

def _parts_args(ctx, command, config, manifest, layers):
    args = _args(ctx, command)
    args.add(config, format = "--config=%s")
    args.add(manifest, format = "--manifest=%s")
    for layer in layers:
        args.add(layer.digest_file, format = "--layer=%s")
        args.add(layer.blob, format = "--blob=%s")
    args.add_all(ctx.attr.repo_tags, format_each = "--tag=%s")
    return args

def _parts(config, manifest, layers):
    return [config, manifest] + [f for layer in layers for f in [layer.digest_file, layer.blob]]

def _run(ctx, args, mnemonic, progress_message, inputs, outputs, requirements):
    ctx.actions.run(
        executable = ctx.toolchains[IMAGE_TOOLCHAIN_TYPE].tool,
        arguments = [args],
        inputs = inputs,
        outputs = outputs,
        mnemonic = mnemonic,
        progress_message = progress_message,
        execution_requirements = requirements,
        toolchain = IMAGE_TOOLCHAIN_TYPE,
    )

image = rule(
    implementation = _image_impl,
    doc = """Makes a container image out of store paths with their closures.

```starlark
image(
    name = "image",
    cmd = ["/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0/start"],
    contents = ["@store//:web"],
    ports = ["18080/tcp"],
    repo_tags = ["web:dev"],
)
```

`bazel build` of the target writes `NAME.tar`, which `docker load`, `podman load`, `ctr images import` and skopeo
(`docker-archive:`, `oci-archive:`) take. The rest is in output groups, each made only if it is asked for:

| group | file | |
|---|---|---|
| `manifest` | `NAME.manifest.json` | OCI image manifest; like the next three it is made from the layers' digest files alone |
| `config` | `NAME.config.json` | OCI image config |
| `descriptor` | `NAME.descriptor.json` | OCI descriptor of the manifest, with the platform |
| `digest` | `NAME.digest` | the image's digest, as `sha256:...` and a newline |
| `layout` | `NAME.layout` | OCI image layout, whose layers are links to the blobs: no copies |
| `layers` | | the layers' blobs, lowest first |
| `digest_files` | | what is known of each layer without its bytes, JSON |

**Layers.** The `store_layer`s in `layers` come first. Then follow the layers that the lock plans for `contents`, as far
as they have no path in common with the former, and what is left: the largest paths in a layer each, the rest in one.
On top of these come the layers of files in `layers`, in their order. Each path of the closure is in exactly one layer, or the build fails and names it. Planned layers and `store_layer`s are
shared by all images; what is left is made by each image for itself.

**Actions**, by mnemonic: `StrataLayer` makes a layer, `StrataImage` config and manifest, `StrataArchive` the archive,
`StrataLayout` the layout.
""",
    attrs = {
        "contents": attr.label_list(
            providers = [StorePathInfo],
            doc = "What the image holds: roots of a lock (`@store//:web`), or `store_path`s. Each comes with its whole closure.",
        ),
        "layers": attr.label_list(
            providers = [LayerInfo],
            doc = "Layers of one's own, in this order: `store_layer`s, which come first, and those of files (`file_layer`, `root_layer`, `etc_layer`, `tar_layer`, and a `store_layer` with `strip_prefix`), which come last. " +
                  "What they refer to must be in `contents` or in `layers`.",
        ),
        "include_store_paths": attr.bool(
            default = True,
            doc = "Whether the image holds the store paths of `contents`. Without, it is for machines that have them, and bring them in by a mount: only `layers` are in it.",
        ),
        "entrypoint": attr.string_list(
            doc = "The program and its first arguments.",
        ),
        "cmd": attr.string_list(
            doc = "The arguments that `docker run IMAGE ARGS...` replaces; without `entrypoint`, the program too.",
        ),
        "env": attr.string_dict(
            doc = "The environment, in this order.",
        ),
        "labels": attr.string_dict(
            doc = "The config's labels, as `{\"org.opencontainers.image.source\": \"https://...\"}`.",
        ),
        "user": attr.string(
            doc = "Who runs the program: a name or a number, alone or with a group, as `1000:100`.",
        ),
        "workdir": attr.string(
            doc = "The absolute path that the program starts in.",
        ),
        "ports": attr.string_list(
            doc = "The ports that the program listens on: `8080`, `8080/tcp`, `53/udp`.",
        ),
        "volumes": attr.string_list(
            doc = "Absolute paths that are volumes.",
        ),
        "stop_signal": attr.string(
            doc = "The signal that ends the program, as `SIGINT`.",
        ),
        "system": attr.string(
            doc = "The system that the image is for, as `x86_64-linux`; the config's platform follows from it. By default what `contents` were locked for.",
        ),
        "max_layers": attr.int(
            default = 0,
            doc = "The greatest number of layers, 1 to %d. By default (0) as the lock plans (`layering.max_layers`), for contents of several locks the greatest; %d for contents without a plan." % (MAX_LAYERS, DEFAULT_MAX_LAYERS),
        ),
        "repo_tags": attr.string_list(
            doc = "Names that archive and layout give the image, as `web:dev` or `registry.example.org/team/web:1.0`.",
        ),
        "_compression": attr.label(
            default = "//:compression",
            providers = [BuildSettingInfo],
        ),
    },
    provides = [ImageInfo],
    toolchains = [
        IMAGE_TOOLCHAIN_TYPE,
        LAYER_TOOLCHAIN_TYPE,
    ],
)
