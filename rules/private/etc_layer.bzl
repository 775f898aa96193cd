"The rule etc_layer."

load(":files_action.bzl", "FILES_TOOLCHAIN_TYPE", "add_entries", "entry", "files_action", "files_args", "layer_providers")
load(":layer_attributes.bzl", "LAYER_ATTRIBUTES", "layer_arguments", "layer_compression")
load(":providers/store_path_info.bzl", "StorePathInfo")

# Attribute -> the entry's type.
_PROGRAMS = {
    "ca_certificates": "ca_certificates",
    "env": "env",
    "shell": "shell",
}

def user(name, uid, gid = None, groups = [], home = None, shell = None, comment = None):
    """Describes a user, for `users` of `etc_layer`.

    Args:
      name: string.
      uid: int. The number.
      gid: int, the number of the user's group, one of `groups` of `etc_layer`. By default the user gets a group of the user's own name and number.
      groups: list of strings, further groups that the user is in.
      home: string, the home directory, by default `/home/NAME`. It is made, and is the user's, but for `/`, `/var/empty`, `/nonexistent` and what is below `/dev`.
      shell: string, the login shell, by default `/bin/sh`.
      comment: string, the user's whole name, or what the user is for.

    Returns:
      string.
    """
    return json.encode({
        key: value
        for key, value in {
            "comment": comment,
            "gid": gid,
            "groups": groups,
            "home": home,
            "name": name,
            "shell": shell,
            "uid": uid,
        }.items()
        if value != None and value != []
    })

def group(name, gid):
    """Describes a group, for `groups` of `etc_layer`.

    Args:
      name: string.
      gid: int. The number.

    Returns:
      string.
    """
    return json.encode({"gid": gid, "name": name})

def _decode(attribute, values):
    decoded = []
    for v in values:
        d = json.decode(v, None) if v.startswith("{") else None
        if d == None:
            fail("%s: %r: want %s(...), loaded from @rules_strata//rules:etc_layer.bzl" % (attribute, v, attribute.removesuffix("s")))
        decoded.append(d)
    return decoded

def _etc_layer_impl(ctx):
    entries = [entry(
        "users",
        users = _decode("users", ctx.attr.users),
        groups = _decode("groups", ctx.attr.groups),
        shadow = ctx.attr.shadow,
        by = "users",
    )]
    roots = []
    for attribute, type in _PROGRAMS.items():
        target = getattr(ctx.attr, attribute)
        if target:
            entries.append(entry(type, root = target[StorePathInfo].path, by = "%s: %s" % (attribute, target.label)))
            roots.append(target[StorePathInfo].entry)
    if ctx.attr.time_zones:
        entries.append(entry(
            "time_zones",
            root = ctx.attr.time_zones[StorePathInfo].path,
            zone = ctx.attr.time_zone or None,
            by = "time_zones: %s" % ctx.attr.time_zones.label,
        ))
        roots.append(ctx.attr.time_zones[StorePathInfo].entry)
    elif ctx.attr.time_zone:
        fail("time_zone: %r: want time_zones too, a store path that has it" % ctx.attr.time_zone)
    if ctx.attr.tmp:
        entries += [
            entry("directory", path = path, mode = "1777", by = "tmp")
            for path in ["tmp", "var/tmp"]
        ]
    args = files_args(ctx)
    add_entries(args, entries)
    return layer_providers(files_action(
        ctx,
        entries = [args],
        compression = layer_compression(ctx),
        options = layer_arguments(ctx),
        roots = roots,
        mtree = ctx.attr.mtree,
    ))

etc_layer = rule(
    implementation = _etc_layer_impl,
    doc = """Makes a layer of what an image of store paths lacks: users and groups, `/tmp`, and on demand certificates, time zones and a shell.

```starlark
load("@rules_strata//rules:etc_layer.bzl", "etc_layer", "group", "user")

etc_layer(
    name = "etc",
    ca_certificates = "@store//:cacert",
    env = "@store//:coreutils",
    groups = [group("video", 44)],
    shell = "@store//:bash",
    time_zone = "Europe/Berlin",
    time_zones = "@store//:tzdata",
    users = [user("web", 1000, groups = ["video"])],
)

image(
    name = "image",
    contents = [...],  # the store paths, with those above
    layers = [":etc"],
    user = "web",
)
```

| attribute | what is in the image |
|---|---|
| `users`, `groups` | `/etc/passwd`, `/etc/group`, `/etc/nsswitch.conf`, home directories; with root (`/root`), and nobody (65534, `/var/empty`), each with the shell `/bin/sh` |
| `shadow` | `/etc/shadow`, `/etc/gshadow`, `/etc/login.defs`, `/etc/pam.d/other` |
| `tmp` | `/tmp`, `/var/tmp`, 1777 |
| `shell`, `env` | `/bin/sh`, `/usr/bin/env` |
| `ca_certificates` | `/etc/ssl/certs/ca-bundle.crt`, `/etc/ssl/certs/ca-certificates.crt`, `/etc/pki/tls/certs/ca-bundle.crt` |
| `time_zones`, `time_zone` | `/usr/share/zoneinfo`, `/etc/zoneinfo`; `/etc/localtime`, `/etc/timezone` |

What is a store path's is a link into it, and the action looks whether it is there. The store paths must be in the image,
or the build fails. The action is `StrataFiles`.
""",
    attrs = LAYER_ATTRIBUTES | {
        "users": attr.string_list(
            doc = "Users beside root and nobody, each as [user](#user) describes it.",
        ),
        "groups": attr.string_list(
            doc = "Groups beside those of root, nobody and users without a `gid`, each as [group](#group) describes it.",
        ),
        "shadow": attr.bool(
            doc = "Whether there are the files that programs want which check or change users, such as su and useradd. Nobody has a password.",
        ),
        "tmp": attr.bool(
            default = True,
            doc = "Whether there are `/tmp` and `/var/tmp`.",
        ),
        "shell": attr.label(
            providers = [StorePathInfo],
            doc = "The store path whose `bin/sh`, or else `bin/bash`, `bin/dash` or `bin/busybox`, is `/bin/sh`.",
        ),
        "env": attr.label(
            providers = [StorePathInfo],
            doc = "The store path whose `bin/env` is `/usr/bin/env`.",
        ),
        "ca_certificates": attr.label(
            providers = [StorePathInfo],
            doc = "The store path of the CA certificates, as nixpkgs' `cacert`: one that has `etc/ssl/certs/ca-bundle.crt` or `etc/ssl/certs/ca-certificates.crt`, or is such a file.",
        ),
        "time_zones": attr.label(
            providers = [StorePathInfo],
            doc = "The store path of the time zones, as nixpkgs' `tzdata`: one that has `share/zoneinfo`.",
        ),
        "time_zone": attr.string(
            doc = "The image's time zone, as `Europe/Berlin`.",
        ),
    },
    toolchains = [FILES_TOOLCHAIN_TYPE],
)
