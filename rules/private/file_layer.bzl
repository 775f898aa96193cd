"The rule file_layer."

load(":files_action.bzl", "FILES_TOOLCHAIN_TYPE", "add_entries", "entry", "files_action", "files_args", "layer_providers", "pair")
load(":image_paths.bzl", "mode_error", "owner_error", "path_error")
load(":layer_attributes.bzl", "LAYER_ATTRIBUTES", "layer_arguments", "layer_compression")
load(":runfiles.bzl", "add_runfiles", "runfiles_inputs")

# What is built for the image is built for the platform that the image says, if it does.
def _platform_impl(settings, attr):
    option = "//command_line_option:platforms"
    return {option: [str(attr.platform)] if attr.platform else settings[option]}

_platform = transition(
    implementation = _platform_impl,
    inputs = ["//command_line_option:platforms"],
    outputs = ["//command_line_option:platforms"],
)

def _file_layer_impl(ctx):
    _check(ctx.attr)
    entries = []
    args = files_args(ctx)
    inputs = []
    for target, path in ctx.attr.files.items():
        add_entries(args, _file_entries(target, path))
        inputs.append(target[DefaultInfo].files)
    for target, path in ctx.attr.tars.items():
        by = "tars: %s" % target.label
        add_entries(args, [
            entry("tar", file = f, path = path, by = by)
            for f in target[DefaultInfo].files.to_list()
        ])
        inputs.append(target[DefaultInfo].files)
    for target, path in ctx.attr.binaries.items():
        add_runfiles(args, target, path, ctx.workspace_name)
        inputs.append(runfiles_inputs(target))
    for path, text in ctx.attr.content.items():
        entries.append(entry("text", text = text, path = path, by = "content: " + path))
    for path, target in ctx.attr.symlinks.items():
        entries.append(entry("symlink", target = target, path = path, by = "symlinks: " + path))
    for path, mode in ctx.attr.directories.items():
        entries.append(entry("directory", path = path, mode = mode or None, by = "directories: " + path))
    for path in ctx.attr.remove:
        entries.append(entry("remove", path = path, by = "remove: " + path))
    for path in ctx.attr.clear:
        entries.append(entry("clear", path = path, by = "clear: " + path))
    add_entries(args, entries)
    return layer_providers(files_action(
        ctx,
        entries = [args],
        inputs = depset(transitive = inputs),
        compression = layer_compression(ctx),
        options = layer_arguments(ctx) + _options(ctx.attr),
        mtree = ctx.attr.mtree,
    ))

def _file_entries(target, path):
    "What a target of `files` is: one file, or several and directories in one."
    by = "files: %s" % target.label
    files = target[DefaultInfo].files.to_list()
    if not files:
        fail("files: %s has no files" % target.label)
    if len(files) == 1 and files[0].is_directory:
        return [entry("folder", file = files[0], follow = True, path = path, by = by)]
    directory = path.endswith("/") or path == ""
    if not directory and len(files) > 1:
        fail("files: %s has %d files, so %r must be a directory: end it in a slash" % (target.label, len(files), path))
    entries = []
    for f in files:
        to = path
        if directory:
            # One file by its name; several in the tree that they are in, below their package.
            to += _below_package(f) if len(files) > 1 else f.basename
        if f.is_directory:
            entries.append(entry("folder", file = f, follow = True, path = to, by = by))
        elif getattr(f, "is_symlink", False):
            entries.append(entry("symlink", file = f, path = to, by = by))
        else:
            entries.append(entry("file", file = f, path = to, by = by))
    return entries

def _below_package(f):
    path = f.short_path
    if path.startswith("../"):
        path = path.split("/", 2)[2]
    package = f.owner.package
    return path.removeprefix(package + "/") if package else path

def _options(attr):
    options = []
    if attr.owner:
        options.append("--owner=" + attr.owner)
    if attr.owner_names:
        options.append("--owner-names=" + attr.owner_names)
    options += ["--exclude=" + pattern for pattern in attr.exclude]
    options += [pair("--rename", pattern, to) for pattern, to in attr.rename.items()]
    options += ["--mode=%s:%s" % (mode, pattern) for pattern, mode in attr.modes.items()]
    options += [pair("--set-owner", pattern, owner) for pattern, owner in attr.owners.items()]
    options += [pair("--xattr", pattern, x) for pattern, xattrs in attr.xattrs.items() for x in xattrs]
    options += [pair("--capabilities", pattern, c) for pattern, c in attr.capabilities.items()]
    if attr.collisions != "error":
        options.append("--collisions=" + attr.collisions)
    if not attr.parents:
        options.append("--omit-parents=true")
    if attr.allow_whiteout_names:
        options.append("--allow-whiteout-names=true")
    return options

def _check(attr):
    "Finds at analysis what the tool would refuse in the action."
    for name in ["files", "tars"]:
        for target, path in getattr(attr, name).items():
            _fault(name, path, path_error(path, root = True), " of %s" % target.label)
    for target, path in attr.binaries.items():
        _fault("binaries", path, path_error(path), " of %s" % target.label)
    for name in ["content", "symlinks", "directories", "remove", "clear"]:
        for path in getattr(attr, name):
            _fault(name, path, path_error(path))
    for path, target in attr.symlinks.items():
        if not target:
            fail("symlinks: %r: its target is empty" % path)
    for path, mode in attr.directories.items():
        if mode:
            _fault("directories", mode, mode_error(mode), " of %r" % path)
    for pattern, mode in attr.modes.items():
        _fault("modes", mode, mode_error(mode), " of %r" % pattern)
    for pattern, owner in attr.owners.items():
        _fault("owners", owner, owner_error(owner), " of %r" % pattern)
    if attr.owner:
        _fault("owner", attr.owner, owner_error(attr.owner) or ("names belong into owner_names" if " " in attr.owner else None))
    if attr.owner_names and not attr.owner:
        fail("owner_names: want owner too; names without numbers are no owner")

def _fault(attribute, value, error, of = ""):
    if error:
        fail("%s: %r%s: %s" % (attribute, value, of, error))

file_layer = rule(
    implementation = _file_layer_impl,
    doc = """Makes a layer of files, folders, tars and programs of the build, and of symlinks, directories and removals.

```starlark
file_layer(
    name = "files",
    files = {
        ":motd.txt": "etc/motd",
        ":site": "srv/www/",  # several files, or a directory
    },
    binaries = {":server": "app/server"},  # with its runfiles
    content = {"etc/hostname": "web\\n"},
    symlinks = {"bin/server": "/app/server"},
    directories = {"var/lib/web": "0750"},
    owners = {"var/lib/web": "1000:1000 web:web"},
)

image(
    name = "image",
    contents = ["@store//:web"],
    layers = [":files"],
)
```

`image` puts such layers above the store's, in the order of its `layers`: what is in a later one replaces what is in an
earlier one, and in the base image.

**What files are like.** Their bytes are the build's; time, owner and permissions are not, since they differ from
checkout to checkout, and Bazel makes every output executable. A file is executable (0755) if it begins as programs do,
with `#!` or as ELF, else 0644; directories are 0755; all belongs to `owner`. `modes` and `owners` say otherwise by
pattern. What comes out of `tars` keeps the modes, owners and extended attributes that it has there.

**Places** are paths in the image, with or without a slash in front. Directories above what is named are made too, 0755
and root's (`/tmp` and `/var/tmp` 1777, `/root` 0700). Where a base image has such a directory with another mode, name
it in `directories`, or set `parents = False`.

**Two entries for one place** are an error that names both, unless `collisions` says which of them is taken. Directories are
merged; one that is named in `directories` has the mode said there.

**Patterns** are matched against paths in the image: `*` and `?` stand for bytes of one name, `**` as a component for any
number of components, a backslash takes the next byte as it is. A pattern that matches nothing is an error.

The default output is the blob; output groups are as for `store_layer`. The action is `StrataFiles`.
""",
    attrs = LAYER_ATTRIBUTES | {
        "files": attr.label_keyed_string_dict(
            allow_files = True,
            cfg = _platform,
            doc = "Files and directories, and where each goes. Of a target with one file that is its path, or, with a slash at its end, the directory that it goes into under its own name. " +
                  "Several files go into a directory, as they are in the tree below their package (`rename` says otherwise). What is in a directory comes to be in the one named.",
        ),
        "tars": attr.label_keyed_string_dict(
            allow_files = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".gz", ".zst"],
            cfg = _platform,
            doc = "Tars whose entries are taken into the layer, and the directory where they go (empty: the image's root). Plain, gzip or zstd. Times are the layer's; the rest is as in the tar. `tar_layer` takes one as it is.",
        ),
        "binaries": attr.label_keyed_string_dict(
            cfg = _platform,
            doc = "Programs (`go_binary`, `py_binary`, `cc_binary`, `java_binary` ...) and the path of each, beside which its runfiles are as Bazel lays them out: `PATH.runfiles/...`. " +
                  "What a program needs beside them, such as an interpreter or a C library, must be in the image.",
        ),
        "platform": attr.label(
            doc = "The platform that `files`, `tars` and `binaries` are built for, as `@rules_strata//rules/platform:x86_64-linux`, or one of your own that chooses toolchains which lead into the store. By default the one that is built for.",
        ),
        "content": attr.string_dict(
            doc = "Files by path, with their text.",
        ),
        "symlinks": attr.string_dict(
            doc = "Symlinks by path, with their targets, absolute or relative: `{\"bin/sh\": \"/nix/store/...-bash/bin/bash\"}`.",
        ),
        "directories": attr.string_dict(
            doc = "Directories by path, with their modes in octal digits; empty: 0755.",
        ),
        "remove": attr.string_list(
            doc = "Paths that are gone from what lower layers have (whiteouts).",
        ),
        "clear": attr.string_list(
            doc = "Directories of whose contents in lower layers nothing is left (opaque whiteouts).",
        ),
        "exclude": attr.string_list(
            doc = "Patterns of what is left out, directories with all that is in them. They match paths before `rename`.",
        ),
        "rename": attr.string_dict(
            doc = "What a pattern matches is moved, with all below it, to another path, in which `$1` to `$9` stand for what the wildcards matched: `{\"srv/*/static\": \"srv/static/$1\"}`. " +
                  "Empty moves what is in a directory to the image's root. Of several patterns that match the first one counts.",
        ),
        "owner": attr.string(
            doc = "Whom entries belong to that say nothing else, as `UID:GID`. By default `0:0`, by name `root:root`.",
        ),
        "owner_names": attr.string(
            doc = "The owner's names, as `USER:GROUP`. By default an `owner` has none.",
        ),
        "modes": attr.string_dict(
            doc = "Permissions by pattern, in octal digits, set-user-ID, set-group-ID and sticky bit included: `{\"usr/bin/su\": \"4755\"}`. Of several patterns that match the last one counts. Symlinks have none.",
        ),
        "owners": attr.string_dict(
            doc = "Owners by pattern, as `UID:GID` or `UID:GID USER:GROUP`; the last match counts.",
        ),
        "xattrs": attr.string_list_dict(
            doc = "Extended attributes by pattern, each as `NAME=VALUE`; the value is text, `0s` and base64, or `0x` and hex digits.",
        ),
        "capabilities": attr.string_dict(
            doc = "Capabilities of programs by pattern, as setcap takes them: `{\"usr/bin/ping\": \"cap_net_raw=ep\"}`.",
        ),
        "collisions": attr.string(
            default = "error",
            values = ["error", "first", "last"],
            doc = "What to do with two entries for one place. The order is: `files`, `tars`, `binaries`, `content`, `symlinks`, `directories`, each in its own.",
        ),
        "parents": attr.bool(
            default = True,
            doc = "Whether directories above entries are made that nobody names. Without, a base image's stay as they are; where there are none, it is the runtime's to make them.",
        ),
        "allow_whiteout_names": attr.bool(
            doc = "Whether names that begin with `.wh.` pass as they are; otherwise they are an error, since container runtimes take them for orders to remove files. In `tars` they are meant as such.",
        ),
    },
    toolchains = [FILES_TOOLCHAIN_TYPE],
)
