"What is written in the repository of a lock."

load(":lock_file.bzl", "fetched_in_action", "nar_repository_name")
load(":systems.bzl", "SYSTEMS")

_HEADER = "# Written by rules_strata out of the lock's contents.\n"

def hub_files(hub, lock):
    """The BUILD files of a lock's repository.

    Args:
      hub: string, what its user calls the repository; for messages.
      lock: struct, as `parse_lock` returns it.

    Returns:
      dict from file name to text.
    """
    files = {
        "BUILD.bazel": _aliases(hub, lock),
        "layer/BUILD.bazel": _layers(lock),
        "path/BUILD.bazel": _paths(lock),
    }
    for system in sorted({s: None for systems in lock.roots.values() for s in systems}):
        files[system + "/BUILD.bazel"] = _roots(lock, system)
    return files

def nars_file(hub, nars):
    """The file by which a WORKSPACE declares the NARs' repositories.

    Args:
      hub: string, what its user calls the repository; it names the macro.
      nars: dict, as `lock_nars` returns it.

    Returns:
      string, the text of a .bzl file.
    """
    return "\n".join([
        _HEADER + _load("//rules/private:nar_repository.bzl", "nar_repository"),
        "_NARS = " + json.encode_indent(nars, indent = "    "),
        "",
        "def %s_nars():" % hub,
        '    "Declares the repositories of the lock\'s NARs. Two locks may have some in common."',
        "    for name, attributes in _NARS.items():",
        "        if not native.existing_rule(name):",
        "            nar_repository(name = name, **attributes)",
        "",
    ])

def _aliases(hub, lock):
    text = [_HEADER + _PACKAGE]
    for root in sorted(lock.roots):
        systems = lock.roots[root].keys()
        text.append("alias(")
        text.append("    name = %r," % root)
        if len(systems) == 1:
            text.append("    actual = %r," % ("//%s:%s" % (systems[0], root)))
        else:
            text.append("    actual = select(")
            text.append("        {")
            for system in systems:
                if system in SYSTEMS:
                    text.append("            %r: %r," % (str(Label("//rules/system:" + system)), "//%s:%s" % (system, root)))
            text.append("        },")
            text.append("        no_match_error = %r," % (
                "@%s//:%s is locked for %s; the target platform is none of them (--platforms)" % (hub, root, ", ".join(systems))
            ))
            text.append("    ),")
        text.append(")\n")
    return "\n".join(text)

def _roots(lock, system):
    text = [_HEADER + _load("//rules/private:store_root.bzl", "store_root") + _PACKAGE]
    for root in sorted(lock.roots):
        if system not in lock.roots[root]:
            continue
        text.append("store_root(")
        text.append("    name = %r," % root)
        text.append("    layers = %s," % _list("//layer:", lock.images.get(root, {}).get(system, [])))
        text.append("    path = %r," % ("//path:" + lock.roots[root][system]))
        text.append("    root = %r," % root)
        text.append("    system = %r," % system)
        text.append(")\n")
    return "\n".join(text)

def _paths(lock):
    text = [_HEADER + _load("//rules/private:store_path.bzl", "store_path") + _PACKAGE]
    nar_fetch_action = repr(str(Label("//:nar_fetch_action")))
    for base in sorted(lock.paths):
        path = lock.paths[base]
        nar = repr("@%s//:nar" % nar_repository_name(path.file_hash))
        text.append("store_path(")
        text.append("    name = %r," % base)
        text.append("    compression = %r," % path.compression)
        text.append("    file_hash = %r," % path.file_hash)
        text.append("    file_size = \"%d\"," % path.file_size)
        if fetched_in_action(path.url):
            text.append("    nar = select({")
            text.append("        %s: None," % nar_fetch_action)
            text.append("        \"//conditions:default\": %s," % nar)
            text.append("    }),")
        else:
            text.append("    nar = %s," % nar)
        text.append("    nar_hash = %r," % path.nar_hash)
        text.append("    nar_size = \"%d\"," % path.nar_size)
        text.append("    path = %r," % path.path)
        text.append("    references = %s," % _list(":", [r for r in path.references if r != base]))
        if base in path.references:
            text.append("    self_reference = True,")
        if fetched_in_action(path.url):
            text.append("    urls = [%r]," % path.url)
        text.append(")\n")
    return "\n".join(text)

def _layers(lock):
    text = [_HEADER + _load("//rules/private:store_layer.bzl", "store_layer") + _PACKAGE]
    for layer in sorted(lock.layers):
        text.append("store_layer(")
        text.append("    name = %r," % layer)
        text.append("    paths = %s," % _list("//path:", lock.layers[layer]))
        text.append(")\n")
    return "\n".join(text)

_PACKAGE = "package(default_visibility = [\"//visibility:public\"])\n"

def _load(file, symbol):
    return "load(%r, %r)\n\n" % (str(Label(file)), symbol)

def _list(prefix, names):
    if not names:
        return "[]"
    return "[\n%s\n    ]" % "\n".join(["        %r," % (prefix + n) for n in names])
