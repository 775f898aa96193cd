"The rule image."

load("@bazel_skylib//rules:common_settings.bzl", "BuildSettingInfo")
load(":database_action.bzl", "DATABASE_TOOLCHAIN_TYPE", "database_action", "database_error")
load(":image_actions.bzl", "IMAGE_TOOLCHAIN_TYPE", "PATH_MAPPING", "add_base", "archive_action", "image_args", "layout_action", "run_image_tool")
load(":image_settings.bzl", "check_settings")
load(":layer_action.bzl", "LAYER_TOOLCHAIN_TYPE", "layer_action")
load(":layer_selection.bzl", "DEFAULT_MAX_LAYERS", "MAX_LAYERS", "layer_limit", "select_layers")
load(":providers/base_image_info.bzl", "BaseImageInfo")
load(":providers/image_info.bzl", "ImageInfo")
load(":providers/layer_info.bzl", "LayerInfo")
load(":providers/plan_info.bzl", "PlanInfo")
load(":providers/store_path_info.bzl", "StorePathInfo")
load(":stamp.bzl", "STAMP_ATTRS", "stamping")

# One second into 1970, as the files of a store.
_REGISTRATION_TIME = 1

def _image_impl(ctx):
    check_settings(ctx.attr)
    base = _base(ctx)
    own = _layers(ctx, base)
    layers = base.layers + own
    config, manifest, descriptor, digest = _manifest(ctx, base, own)
    tags = stamping(ctx, "repo_tags", ctx.attr.repo_tags)
    dynamic_tags = tags.live or bool(ctx.files.repo_tags_file) or not ctx.attr.repo_tags
    info = ImageInfo(
        base_image = base.file,
        config = config,
        descriptor = descriptor,
        digest = digest,
        dynamic_tags = dynamic_tags,
        layer_count = None if base.layer_count == None else base.layer_count + len(own),
        layers = tuple(layers),
        manifest = manifest,
        repo_tags = () if dynamic_tags else tuple(ctx.attr.repo_tags),
        system = _system(ctx),
        tags_file = _tags(ctx, tags),
    )
    return [
        DefaultInfo(files = depset([archive_action(ctx, ctx.label.name, info)])),
        OutputGroupInfo(
            config = depset([config]),
            descriptor = depset([descriptor]),
            digest = depset([digest]),
            digest_files = depset([layer.digest_file for layer in layers]),
            layers = depset([layer.blob for layer in layers]),
            layout = depset([layout_action(ctx, ctx.label.name + ".layout", info)]),
            manifest = depset([manifest]),
            tags = depset([info.tags_file]),
        ),
        info,
    ]

def _base(ctx):
    """What the image is built on, so far as it is known before anything is built.

    Args:
      ctx: the rule's context.

    Returns:
      struct with `file` (BaseImageInfo or None: what is at the bottom, if no target of ours makes it), `parts`
      (ImageInfo or None), `layers` (list of LayerInfo), `layer_count` (int or None) and `store_paths` (dict of path to NarHash).
    """
    target = ctx.attr.base
    if not target:
        return struct(file = None, layer_count = 0, layers = [], parts = None, store_paths = {})
    if ImageInfo in target:
        if ctx.attr.base_name:
            fail("base_name: %s is one image; it goes with an archive or a layout" % target.label)
        info = target[ImageInfo]
        paths = _file_store_paths(info.base_image)
        for layer in info.layers:
            paths.update({e.path: e.nar_hash for e in layer.store_paths})
        _check_base_layers(ctx, info.layer_count)
        return struct(file = info.base_image, layer_count = info.layer_count, layers = list(info.layers), parts = info, store_paths = paths)
    info = target[BaseImageInfo] if BaseImageInfo in target else _base_of_files(target)
    if ctx.attr.base_name:
        info = BaseImageInfo(
            files = info.files,
            layer_count = None,
            name = ctx.attr.base_name,
            path = info.path,
            store_paths = (),
        )
    _check_base_layers(ctx, info.layer_count)
    return struct(
        file = info,
        layer_count = ctx.attr.base_layers or None if info.layer_count == None else info.layer_count,
        layers = [],
        parts = None,
        store_paths = _file_store_paths(info),
    )

def _check_base_layers(ctx, count):
    if ctx.attr.base_layers and count != None and count != ctx.attr.base_layers:
        fail("base_layers: %d, but %s has %d" % (ctx.attr.base_layers, ctx.attr.base.label, count))

def _file_store_paths(info):
    return {p.path: p.nar_hash for p in info.store_paths} if info else {}

def _base_of_files(target):
    "An archive, a layout's directory, or the files of a layout with its index.json among them."
    files = target[DefaultInfo].files
    found = files.to_list()
    if len(found) > 1:
        found = [f for f in found if f.basename == "index.json"]
    if len(found) != 1:
        fail("base: %s: want an image, an archive, or an OCI layout: its directory, or all of its files with one index.json" % target.label)
    return BaseImageInfo(files = files, layer_count = None, name = "", path = found[0], store_paths = ())

def _layers(ctx, base):
    base_layers = base.layer_count or 0
    max_layers, error = layer_limit(
        ctx.attr.max_layers,
        [d[PlanInfo].max_layers if PlanInfo in d else 0 for d in ctx.attr.contents],
        base_layers = base_layers,
    )
    if error:
        fail(error)
    explicit = _database(ctx, base) + [d[LayerInfo] for d in ctx.attr.layers]
    contents = ctx.attr.contents if ctx.attr.include_store_paths else []
    selection = select_layers(
        base_layers = base_layers,
        base_paths = base.store_paths,
        closure = depset(transitive = [d[StorePathInfo].closure for d in contents]).to_list(),
        explicit = explicit,
        planned = [layer for d in contents if PlanInfo in d for layer in d[PlanInfo].layers],
        max_layers = max_layers,
        complete = ctx.attr.include_store_paths,
    )
    if selection.error:
        fail(selection.error)
    if not selection.layers and not selection.added and not selection.top and not ctx.attr.base:
        fail("contents: the image is empty; name a root of a lock, such as @store//:web")

    # Those of a lock's repository: whoever declares a store_path by hand has no fleet to put it into.
    unplanned = [str(d.label) for d in contents if PlanInfo not in d and d.label.repo_name]
    if unplanned and selection.added:
        # buildifier: disable=print
        print("%s: the lock plans no layers for %s, which is none of its roots: the largest paths get a layer each, for this image alone. To share layers with other images, add it to \"roots\" in strata.json and run `strata lock`." % (ctx.label, ", ".join(unplanned)))

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

def _database(ctx, base):
    """Declares the layer with the database of the store, if there is to be one.

    Args:
      ctx: the rule's context.
      base: struct, from _base.

    Returns:
      list of LayerInfo, of at most one. It is said to be an explicit one, so that it counts as one.
    """
    if not ctx.attr.nix_database and not ctx.attr.guix_database:
        if ctx.attr.registration_time != _REGISTRATION_TIME:
            fail("registration_time: it goes with nix_database or guix_database")
        return []
    if ctx.attr.nix_database and ctx.attr.guix_database:
        fail("guix_database: nix_database is set too; a store is the one's or the other's")
    kind = "nix" if ctx.attr.nix_database else "guix"
    if not ctx.attr.include_store_paths:
        fail("%s_database: include_store_paths = False leaves out what it would register" % kind)
    if ctx.attr.registration_time < 0:
        fail("registration_time: %d: want seconds since 1970, 0 or more" % ctx.attr.registration_time)

    # Of a base whose layers targets make all is known; of others only what is in contents too.
    layers = base.layers + [d[LayerInfo] for d in ctx.attr.layers]
    closure = depset(transitive = [d[StorePathInfo].closure for d in ctx.attr.contents]).to_list()
    entries = {e.path: e for e in closure + [e for layer in layers for e in layer.store_paths]}
    error = database_error(kind, entries.keys(), [layer.label for layer in layers if layer.altered])
    if error:
        fail("%s_database: %s" % (kind, error))
    return [database_action(
        ctx,
        kind = kind,
        compression = ctx.attr._compression[BuildSettingInfo].value,
        entries = entries.values(),
        registration_time = ctx.attr.registration_time,
        roots = [d[StorePathInfo].path for d in ctx.attr.contents],
    )]

def _system(ctx):
    systems = {d[StorePathInfo].system: d.label for d in ctx.attr.contents if d[StorePathInfo].system}
    if ctx.attr.system:
        for system, label in systems.items():
            if system != ctx.attr.system:
                fail("system: %s, but %s in contents is for %s" % (ctx.attr.system, label, system))
        return ctx.attr.system
    if not systems and ctx.attr.base and ImageInfo in ctx.attr.base:
        return ctx.attr.base[ImageInfo].system
    if len(systems) > 1:
        fail("contents: %s; an image is for one system" % ", ".join(["%s is for %s" % (label, system) for system, label in systems.items()]))
    if not systems:
        fail("system: nothing in contents says which system it is for; set it, as \"x86_64-linux\"")
    return systems.keys()[0]

def _assignments(variables):
    return ["%s=%s" % (name, value) for name, value in variables.items()]

def _manifest(ctx, base, layers):
    "Declares the action that reads digest files and settings, and nothing else; of a base in a file that too."
    stamp = stamping(
        ctx,
        "labels, annotations, author, comment, created",
        ctx.attr.labels.values() + ctx.attr.annotations.values() + [ctx.attr.author, ctx.attr.comment, ctx.attr.created],
    )
    settings = ctx.actions.declare_file(ctx.label.name + ".settings.json")
    ctx.actions.write(settings, json.encode_indent({
        name: value
        for name, value in {
            "annotations": ctx.attr.annotations,
            "author": ctx.attr.author,
            "base_layers": ctx.attr.base_layers,
            "cmd": ctx.attr.cmd,
            "comment": ctx.attr.comment,
            "config_json": ctx.attr.config_json,
            "created": ctx.attr.created,
            "entrypoint": ctx.attr.entrypoint,
            "env": _assignments(ctx.attr.env),
            "env_prepend": _assignments(ctx.attr.env_prepend),
            "healthcheck": ctx.attr.healthcheck,
            "healthcheck_options": ctx.attr.healthcheck_options,
            "labels": ctx.attr.labels,
            "max_layers": ctx.attr.max_layers if ctx.attr.base else 0,
            "media_types": "" if ctx.attr.media_types == "oci" else ctx.attr.media_types,
            "on_build": ctx.attr.on_build,
            "ports": ctx.attr.ports,
            "shell": ctx.attr.shell,
            "stamp": stamp.live,
            "stamp_defaults": ctx.attr.stamp_defaults if stamp.live else {},
            "stop_signal": ctx.attr.stop_signal,
            "store_paths_mounted": not ctx.attr.include_store_paths,
            "system": _system(ctx),
            "user": ctx.attr.user,
            "volumes": ctx.attr.volumes,
            "workdir": ctx.attr.workdir,
        }.items()
        if value
    }) + "\n")

    config = ctx.actions.declare_file(ctx.label.name + ".config.json")
    manifest = ctx.actions.declare_file(ctx.label.name + ".manifest.json")
    descriptor = ctx.actions.declare_file(ctx.label.name + ".descriptor.json")
    digest = ctx.actions.declare_file(ctx.label.name + ".digest")
    args = image_args(ctx, "manifest")
    args.add(settings, format = "--settings=%s")
    args.add_all(ctx.files.config_file, format_each = "--config-json=%s")
    args.add_all(ctx.files.label_files, format_each = "--label-file=%s")
    args.add_all(ctx.files.annotation_files, format_each = "--annotation-file=%s")
    args.add_all(stamp.files, format_each = "--stamp-file=%s")
    inputs = [settings] + ctx.files.config_file + ctx.files.label_files + ctx.files.annotation_files + stamp.files
    inputs += add_base(args, base.file)
    if base.parts:
        below = [layer.digest_file for layer in base.layers]
        args.add(base.parts.config, format = "--base-config=%s")
        args.add(base.parts.manifest, format = "--base-manifest=%s")
        args.add_all(below, format_each = "--base-layer=%s")
        inputs += [base.parts.config, base.parts.manifest] + below
    args.add_all([layer.digest_file for layer in layers], format_each = "--layer=%s")
    args.add(config, format = "--config-output=%s")
    args.add(manifest, format = "--manifest-output=%s")
    args.add(descriptor, format = "--descriptor-output=%s")
    args.add(digest, format = "--digest-output=%s")
    run_image_tool(
        ctx,
        args,
        mnemonic = "StrataImage",
        progress_message = "Writing image manifest %{label}",
        inputs = inputs + [layer.digest_file for layer in layers],
        outputs = [config, manifest, descriptor, digest],
        requirements = PATH_MAPPING,
    )
    return config, manifest, descriptor, digest

def _tags(ctx, stamp):
    "Declares the action that writes the image's names."
    tags = ctx.actions.declare_file(ctx.label.name + ".tags")
    args = image_args(ctx, "tags")
    args.add_all(ctx.attr.repo_tags, format_each = "--tag=%s")
    args.add_all(ctx.files.repo_tags_file, format_each = "--tag-file=%s")
    args.add(ctx.attr.default_name, format = "--default-name=%s")
    args.add_all([d[StorePathInfo].path for d in ctx.attr.contents], format_each = "--root=%s")
    if stamp.live:
        args.add("--stamp=true")
        args.add_all(_assignments(ctx.attr.stamp_defaults), format_each = "--stamp-default=%s")
        args.add_all(stamp.files, format_each = "--stamp-file=%s")
    args.add(tags, format = "--output=%s")
    run_image_tool(
        ctx,
        args,
        mnemonic = "StrataTags",
        progress_message = "Writing image names %{label}",
        inputs = ctx.files.repo_tags_file + stamp.files,
        outputs = [tags],
        requirements = PATH_MAPPING,
    )
    return tags

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
(`docker-archive:`, `oci-archive:`) take; [image_archive](#image_archive) writes other forms. The rest is in output groups, each made only if it is asked for:

| group | file | |
|---|---|---|
| `manifest` | `NAME.manifest.json` | OCI image manifest; like the next three it is made from the layers' digest files alone |
| `config` | `NAME.config.json` | OCI image config |
| `descriptor` | `NAME.descriptor.json` | OCI descriptor of the manifest, with the platform |
| `digest` | `NAME.digest` | the image's digest, as `sha256:...` and a newline |
| `layout` | `NAME.layout` | OCI image layout, whose layers are links to the blobs: no copies |
| `layers` | | the layers' blobs, lowest first |
| `tags` | `NAME.tags` | the image's names, one a line |
| `digest_files` | | what is known of each layer without its bytes, JSON |

**Layers.** The `store_layer`s in `layers` come first. Then follow the layers that the lock plans for `contents`, as far
as they have no path in common with the former, and what is left: the largest paths in a layer each, the rest in one.
On top of these come the layers of files in `layers`, in their order. Each path of the closure is in exactly one layer, or the build fails and names it. Planned layers and `store_layer`s are
shared by all images; what is left is made by each image for itself. Where that is so because a store path in `contents` is no root of
its lock, and so in no plan, the build prints a note.

**A base** (`base`) gives the image its layers, below all others, and its config wherever the attributes say nothing: `env`,
`labels`, `ports` and `volumes` are added to the base's, `entrypoint` clears its cmd, `env_prepend` goes in front of
what its variables have. Its layers count against `max_layers`. Store paths that it has already, whole and with the same NarHash, get
no layer: one by one where Bazel knows them before the build (an `image`, a pulled image that strata made); of a base in a
file a layer is left out if all of its store paths are there. A base may be without the bytes of its layers: only archive and layout need them. To
clear what a base has, say so in `config_json`: `{"Entrypoint": []}`.

**Store paths** that `cmd`, `entrypoint`, `env`, `env_prepend`, `healthcheck`, `labels`, `shell` and `workdir` name must be in the image, or
the build fails and names them; not without `include_store_paths`. (`annotations` may name what they like.)

**A database of the store** (`nix_database`, `guix_database`) makes real Nix or Guix in the image, or over its files, take
the store paths for valid: `nix-store --verify --check-contents` finds them whole, `nix-store --query` and `nix path-info` say of
them what the lock says, and no garbage is collected among them: `contents` are its roots, and so is whatever else nothing refers to. Registered
are the closure of `contents`, the paths of `layers` and, over an `image`, those of the base; of other bases only what is in
`contents` too. Derivers aren't known, and of signatures the one that the lock has.

**Actions**, by mnemonic: `StrataLayer` makes a layer, `StrataDatabase` that of the database, `StrataImage` config and manifest, `StrataTags` the names, `StrataArchive` the
archive, `StrataLayout` the layout.
""",
    attrs = {
        "contents": attr.label_list(
            providers = [StorePathInfo],
            doc = "What the image holds: roots of a lock (`@store//:web`), or `store_path`s. Each comes with its whole closure.",
        ),
        "layers": attr.label_list(
            providers = [LayerInfo],
            doc = "Layers of one's own, in this order: `store_layer`s, which come first, and those of files (`file_layer`, `root_layer`, `etc_layer`, `tar_layer`, `run_layer`, and a `store_layer` with `strip_prefix`), which come last. " +
                  "What they refer to must be in `contents` or in `layers`; none may change what is inside a store path of another's.",
        ),
        "include_store_paths": attr.bool(
            default = True,
            doc = "Whether the image holds the store paths of `contents`. Without, it is for machines that have them, and bring them in by a mount: only `layers` are in it. What `cmd` and other attributes name isn't looked for then.",
        ),
        "base": attr.label(
            allow_files = True,
            doc = "The image to build on: an `image`, a pulled image, an OCI layout (its directory, or all of its files), or an archive (docker's, OCI's, or both in one; plain, gzip or zstd).",
        ),
        "base_name": attr.string(
            doc = "Which of the images in `base` is meant, where it has several: a name with its tag, or a digest. Of several for one name the platform decides.",
        ),
        "base_layers": attr.int(
            default = 0,
            doc = "How many layers a `base` in a file has, which Bazel doesn't know before the build: so that `max_layers` leaves room for them. A wrong number is an error that says the right one.",
        ),
        "config_json": attr.string(
            doc = "A config as docker and OCI write it, a JSON object with keys such as `Cmd` and `Healthcheck`: what dockerTools calls `config`. It goes over the base's config, and the other attributes over it. Unknown keys are errors.",
        ),
        "config_file": attr.label(
            allow_single_file = True,
            doc = "The same in a file.",
        ),
        "entrypoint": attr.string_list(
            doc = "The program and its first arguments. Clears the base's cmd.",
        ),
        "cmd": attr.string_list(
            doc = "The arguments that `docker run IMAGE ARGS...` replaces; without `entrypoint`, the program too.",
        ),
        "env": attr.string_dict(
            doc = "The environment, in this order, added to the base's.",
        ),
        "env_prepend": attr.string_dict(
            doc = "What to put in front of variables that are lists joined by colons, the base's too: `{\"PATH\": \"/nix/store/...-web-1.0/bin\"}`.",
        ),
        "labels": attr.string_dict(
            doc = "The config's labels, as `{\"org.opencontainers.image.source\": \"https://...\"}`.",
        ),
        "label_files": attr.label_list(
            allow_files = True,
            doc = "Files with further labels, `NAME=VALUE` a line (`#` begins a comment); `labels` go before them, and a later file before an earlier one.",
        ),
        "annotations": attr.string_dict(
            doc = "The manifest's annotations.",
        ),
        "annotation_files": attr.label_list(
            allow_files = True,
            doc = "Files with further annotations, as `label_files`.",
        ),
        "author": attr.string(
            doc = "Who is to be asked about the image.",
        ),
        "comment": attr.string(
            doc = "A line about the image.",
        ),
        "created": attr.string(
            doc = "The time of creation as RFC 3339 has it, or in seconds since 1970, as `{BUILD_TIMESTAMP}` is (see `stamp`). By default one second into 1970. It touches no layer: files have a time of their own.",
        ),
        "healthcheck": attr.string_list(
            doc = "How to ask the program whether it is well, as docker has it: `[\"CMD\", \"/nix/store/...\", \"--ask\"]`, `[\"CMD-SHELL\", \"...\"]` or `[\"NONE\"]`.",
        ),
        "healthcheck_options": attr.string_dict(
            doc = "The options of a Dockerfile's HEALTHCHECK: `interval`, `timeout`, `start-period` and `start-interval`, each a time such as `30s`, and `retries`.",
        ),
        "shell": attr.string_list(
            doc = "What a Dockerfile that builds on the image runs its lines of shell by, as `[\"/bin/bash\", \"-c\"]`.",
        ),
        "on_build": attr.string_list(
            doc = "Instructions for a Dockerfile that builds on the image. A base's are not inherited.",
        ),
        "user": attr.string(
            doc = "Who runs the program: a name or a number, alone or with a group, as `1000:100`. Names must be in the `/etc/passwd` and `/etc/group` of a layer or of the base (`etc_layer` makes them), unless nobody can know: of a base without its layers, or of a link.",
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
            doc = "The greatest number of layers, 1 to %d, the base's among them. By default (0) as the lock plans (`layering.max_layers`), for contents of several locks the greatest; %d for contents without a plan." % (MAX_LAYERS, DEFAULT_MAX_LAYERS),
        ),
        "media_types": attr.string(
            default = "oci",
            values = [
                "docker",
                "oci",
            ],
            doc = "`oci`, or `docker` for registries and clients from before OCI's: then manifest, config and layers have the media types of docker's image manifest version 2, schema 2, which knows no zstd. The digest is another.",
        ),
        "repo_tags": attr.string_list(
            doc = "Names that archive and layout give the image, as `web:dev`, `registry.example.org/team/web:1.0` or `web:{STABLE_GIT_COMMIT}` (see `stamp`).",
        ),
        "repo_tags_file": attr.label(
            allow_single_file = True,
            doc = "A file with further names, one a line.",
        ),
        "default_name": attr.string(
            default = "store-path",
            values = [
                "guix",
                "none",
                "store-path",
            ],
            doc = "What to call an image that neither `repo_tags` nor `repo_tags_file` names, after `contents`: `store-path` is the first one's name as the repository, in lower case, and its hash as the tag (`web-1.0:dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr`); `guix` what `guix pack -f docker` says, the packages' names without versions and the tag `latest`; `none` no name.",
        ),
        "nix_database": attr.bool(
            doc = "Whether a layer between those of the store and those of files holds Nix' database of the image's store paths (`/nix/var/nix/db`) and roots for its garbage collector.",
        ),
        "guix_database": attr.bool(
            doc = "The same for Guix (`/var/guix/db`); a single root that is a profile is root's profile too.",
        ),
        "registration_time": attr.int(
            default = _REGISTRATION_TIME,
            doc = "When the paths were registered, as the database says it, in seconds since 1970.",
        ),
        "_compression": attr.label(
            default = "//:compression",
            providers = [BuildSettingInfo],
        ),
    } | STAMP_ATTRS,
    provides = [ImageInfo],
    toolchains = [
        DATABASE_TOOLCHAIN_TYPE,
        IMAGE_TOOLCHAIN_TYPE,
        LAYER_TOOLCHAIN_TYPE,
    ],
)
