"The rule run_layer."

load(":files_action.bzl", "files_layer", "layer_providers")
load(":image_actions.bzl", "add_base")
load(":image_paths.bzl", "owner_error", "path_error")
load(":image_settings.bzl", "directory_error", "user_error", "variable_error")
load(":layer_action.bzl", "LAYER_EXTENSIONS")
load(":layer_attributes.bzl", "LAYER_ATTRIBUTES", "layer_compression")
load(":providers/image_info.bzl", "ImageInfo")

_TOOLCHAIN_TYPE = Label("//rules/toolchain:run_toolchain_type")

def _run_layer_impl(ctx):
    _check(ctx.attr)
    info = ctx.attr.image[ImageInfo]
    name = ctx.label.name
    spec = ctx.actions.declare_file(name + ".spec.json")
    ctx.actions.write(spec, json.encode_indent({
        field: value
        for field, value in {
            "command": ctx.attr.command,
            "env": ctx.attr.env,
            "mtime": ctx.attr.mtime,
            "owners": ctx.attr.owners,
            "scratch": ctx.attr.scratch,
            "time_limit": ctx.attr.time_limit,
            "user": ctx.attr.user,
            "workdir": ctx.attr.workdir,
        }.items()
        if value or field in ["mtime", "scratch"]
    }) + "\n")

    compression = layer_compression(ctx)
    blob = ctx.actions.declare_file(name + LAYER_EXTENSIONS[compression])
    digest_file = ctx.actions.declare_file(name + ".json")
    outputs = [blob, digest_file]
    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add(spec, format = "--spec=%s")
    args.add(info.config, format = "--config=%s")
    args.add(info.manifest, format = "--manifest=%s")
    inputs = [spec, info.config, info.manifest] + add_base(args, info.base_image)
    for layer in info.layers:
        args.add(layer.digest_file, format = "--layer=%s")
        args.add(layer.blob, format = "--blob=%s")
        inputs += [layer.digest_file, layer.blob]
    args.add(blob, format = "--output=%s")
    args.add(digest_file, format = "--digest-file=%s")
    listing = None
    if ctx.attr.mtree:
        listing = ctx.actions.declare_file(name + ".mtree")
        outputs.append(listing)
        args.add(listing, format = "--mtree=%s")
    args.add(compression, format = "--compression=%s")
    if ctx.attr.level:
        args.add(ctx.attr.level, format = "--level=%s")
    ctx.actions.run(
        executable = ctx.toolchains[_TOOLCHAIN_TYPE].tool,
        arguments = [args],
        inputs = inputs,
        outputs = outputs,
        mnemonic = "StrataRun",
        progress_message = "Running a command for layer %{label}",
        execution_requirements = {"supports-path-mapping": "1"},
        toolchain = _TOOLCHAIN_TYPE,
    )
    return layer_providers(files_layer(ctx, blob, digest_file, compression, mtree = listing))

def _check(attr):
    "Finds at analysis what the tool would refuse in the action."
    if attr.mtime < 0:
        fail("mtime: %d: want seconds since 1970" % attr.mtime)
    if not attr.command or not attr.command[0]:
        fail("command: want a program and its arguments")
    for name in attr.env:
        _fault("env", name, variable_error(name))
    if attr.user:
        _fault("user", attr.user, user_error(attr.user))
    if attr.workdir:
        _fault("workdir", attr.workdir, directory_error(attr.workdir))
    for pattern, owner in attr.owners.items():
        _fault("owners", owner, owner_error(owner), " of %r" % pattern)
    for path in attr.scratch:
        _fault("scratch", path, path_error(path))

def _fault(attribute, value, error, of = ""):
    if error:
        fail("%s: %r%s: %s" % (attribute, value, of, error))

run_layer = rule(
    implementation = _run_layer_impl,
    doc = """Runs a program of an image over the image, and makes a layer of what it changed: what `RUN` is in a Dockerfile.

```starlark
image(
    name = "base",
    contents = ["@store//:web"],
    layers = [":users"],
)

run_layer(
    name = "setup",
    command = ["/bin/sh", "-euc", "ldconfig && mkdir -m 2775 /srv/spool"],
    image = ":base",
    owners = {"srv/spool": "1000:1000"},
)

image(
    name = "image",
    base = ":base",
    layers = [":setup"],
)
```

**Where it runs.** The image is unpacked into a folder, which becomes the program's root. In namespaces of its own it finds no
network but a loopback device, `/proc` of its own processes, a `/dev` with `null`, `zero`, `full`, `random`, `urandom` and `tty`, the
host name `localhost`, umask 022 and nothing on standard input. When it ends, all that it has started ends with it. Where
namespaces are refused, root has chroot(2): then `/proc` is empty, the host name is the host's, and it runs among the machine's processes, to which a
filter of system calls and, from Linux 6.12 on, Landlock keep it from doing anything. Where nothing can be had,
the build fails and says what forbids it. It must be a program for the machine that runs the action.

**What gets into the layer**: contents, modes, owners, symlinks, hard links, extended attributes (`user.*`, capabilities, ACLs), and whiteouts for
what is gone. What is written anew as it was is no change. All times are `mtime`. Not in it: `/dev`, `/proc`, `scratch`, sockets, and store directories
(`/nix/store`, `/gnu/store`), which can't be written. A command that changes nothing is an error: so it was meant otherwise.

**The same each time** is the layer as far as the program does the same each time. It gets `SOURCE_DATE_EPOCH` (`mtime`), and no clock can be
taken from it (Linux has no namespace for the time of day): who writes the time into files makes another layer with each build.

**Users.** As root outside of a sandbox, or where `/etc/subuid` gives ids to the user, files can have any owner. In Bazel's
sandbox, or without such ids, there is one id: files stay whose they are, new ones are root's; `chown` to others and `user` fail. `owners` says by pattern whom files
of the layer belong to, everywhere alike; the tag `no-sandbox` takes a target out of the sandbox.

Nothing of this gets into an image's config. The program's output is shown if it fails, with escape sequences spelled out. The default output is the blob; output groups are as for `store_layer`. The
action is `StrataRun`.
""",
    attrs = LAYER_ATTRIBUTES | {
        "image": attr.label(
            mandatory = True,
            providers = [ImageInfo],
            doc = "The image so far, an `image`. The layer belongs right above its layers: into an image whose `base` it is.",
        ),
        "command": attr.string_list(
            mandatory = True,
            doc = "The program and its arguments, as `[\"/bin/sh\", \"-euc\", \"...\"]`. A program without a slash is looked up in `PATH`, in the image.",
        ),
        "env": attr.string_dict(
            doc = "The environment, over that of the image's config. Beside it there are `PATH`, `HOME` and `SOURCE_DATE_EPOCH`, unless they are said here or there; nothing of the machine's.",
        ),
        "user": attr.string(
            doc = "Whom the program runs as: a name that the image's `/etc/passwd` knows or a number, alone or with a group, as `1000:100`. By default root, also where the image's config has another.",
        ),
        "workdir": attr.string(
            doc = "The absolute path that the program starts in. By default `/`.",
        ),
        "time_limit": attr.string(
            doc = "How long the program may take, as `90s` or `10m`, at most 24 hours. By default as long as Bazel lets the action run.",
        ),
        "owners": attr.string_dict(
            doc = "Owners of what is in the layer by pattern, as `UID:GID` or `UID:GID USER:GROUP`, whatever the program made of them: `{\"srv/spool/**\": \"1000:1000\"}`. The last match counts; a pattern that matches nothing is an error.",
        ),
        "scratch": attr.string_list(
            default = ["tmp"],
            doc = "Directories that the program finds empty, with mode 1777, whatever the image has there, and of which nothing gets into the layer. A `/tmp` that the image is to have is made by `etc_layer`, or with `scratch = []`.",
        ),
    },
    toolchains = [_TOOLCHAIN_TYPE],
)
