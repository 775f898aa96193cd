"What is written in the repository of a lock."

load(":lock_file.bzl", "fetched_in_action", "nar_repository_name")
load(":systems.bzl", "SYSTEMS")

# All that goes into these texts without quoting is made of characters that need none: `lock_error` sees to it.

_HEADER = "# Written by rules_strata out of the lock's contents.\n"

_PACKAGE = "package(default_visibility = [\"//visibility:public\"])\n"

_ALIAS = """
alias(
    name = "{root}",
    actual = "//{system}:{root}",
)
"""

_ALIAS_BY_PLATFORM = """
alias(
    name = "{root}",
    actual = select(
        {{{cases}
        }},
        no_match_error = "@{hub}//:{root} is locked for {systems}; the target platform is none of them (--platforms)",
    ),
)
"""

_ROOT = """
store_root(
    name = "{root}",
    layers = {layers},
    path = "//path:{path}",
    root = "{root}",
    system = "{system}",
)
"""

_STORE_PATH = """
store_path(
    name = "%s",
    compression = %r,
    file_hash = "%s",
    file_size = "%d",
    nar = %s,
    nar_hash = "%s",
    nar_size = "%d",
    path = "%s",
    references = %s,%s
)
"""

_NAR_BY_FLAG = """select({
        "%s": None,
        "//conditions:default": "@%s//:nar",
    })"""

_LAYER = """
store_layer(
    name = "%s",
    paths = %s,
)
"""

def hub_files(hub, lock):
    """The BUILD files of a lock's repository.

    Args:
      hub: string, what its user calls the repository; for messages.
      lock: dict, as `decode_lock` returns it.

    Returns:
      dict from file name to text.
    """
    files = {
        "BUILD.bazel": _aliases(hub, lock["roots"]),
        "layer/BUILD.bazel": _layers(lock),
        "path/BUILD.bazel": _paths(lock["paths"]),
    }
    for system in sorted({s: None for systems in lock["roots"].values() for s in systems}):
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

def _aliases(hub, roots):
    text = [_HEADER, _PACKAGE]
    for root in sorted(roots):
        systems = sorted(roots[root])
        if len(systems) == 1:
            text.append(_ALIAS.format(root = root, system = systems[0]))
            continue
        cases = [
            "\n            \"%s\": \"//%s:%s\"," % (Label("//rules/system:" + system), system, root)
            for system in systems
            if system in SYSTEMS
        ]
        text.append(_ALIAS_BY_PLATFORM.format(
            cases = "".join(cases),
            hub = hub,
            root = root,
            systems = ", ".join(systems),
        ))
    return "".join(text)

def _roots(lock, system):
    text = [_HEADER, _load("//rules/private:store_root.bzl", "store_root"), _PACKAGE]
    images = lock.get("plan", {}).get("images", {})
    for root in sorted(lock["roots"]):
        if system in lock["roots"][root]:
            text.append(_ROOT.format(
                layers = _list("//layer:", images.get(root, {}).get(system, [])),
                path = _base(lock["roots"][root][system]),
                root = root,
                system = system,
            ))
    return "".join(text)

def _paths(paths):
    text = [_HEADER, _load("//rules/private:store_path.bzl", "store_path"), _PACKAGE]
    nar_fetch_action = str(Label("//:nar_fetch_action"))
    for path in sorted(paths):
        fields = paths[path]
        base = _base(path)
        repository = nar_repository_name(fields["file_hash"])
        references = fields["references"]
        more = ""
        if base in references:
            references = [r for r in references if r != base]
            more += "\n    self_reference = True,"
        if fetched_in_action(fields["url"]):
            nar = _NAR_BY_FLAG % (nar_fetch_action, repository)
            more += "\n    urls = [%r]," % fields["url"]
        else:
            nar = "\"@%s//:nar\"" % repository
        text.append(_STORE_PATH % (
            base,
            fields["compression"],
            fields["file_hash"],
            fields["file_size"],
            nar,
            fields["nar_hash"],
            fields["nar_size"],
            path,
            _list(":", references),
            more,
        ))
    return "".join(text)

def _layers(lock):
    text = [_HEADER, _load("//rules/private:store_layer.bzl", "store_layer"), _PACKAGE]
    layers = lock.get("plan", {}).get("layers", {})
    for layer in sorted(layers):
        text.append(_LAYER % (layer, _list("//path:", layers[layer])))
    return "".join(text)

def _base(path):
    return path.rpartition("/")[2]

def _load(file, symbol):
    return "load(\"%s\", \"%s\")\n\n" % (Label(file), symbol)

def _list(prefix, names):
    "A list of labels, in the order of the lock."
    if not names:
        return "[]"
    separator = "\",\n        \"" + prefix
    return "[\n        \"" + prefix + separator.join(names) + "\",\n    ]"
