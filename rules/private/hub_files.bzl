"What is written in the repository of a lock."

load(":lock_file.bzl", "fetched_in_action", "nar_repository_name")
load(":mirrors.bzl", "join_mirrors", "nar_urls")

# Whatever comes out of a lock is written by _rule, which quotes it.

_HEADER = "# Written by rules_strata out of the lock's contents.\n"

_PACKAGE = "package(default_visibility = [\"//visibility:public\"])\n"

def hub_files(hub, lock, mirrors = {}):
    """The BUILD files of a lock's repository.

    Args:
      hub: string, what its user calls the repository; for messages.
      lock: dict, as `decode_lock` returns it.
      mirrors: dict from a cache's URL to a list of mirrors that are tried before the lock's.

    Returns:
      dict from file name to text.
    """
    files = {
        "BUILD.bazel": _aliases(hub, lock["roots"]),
        "layer/BUILD.bazel": _layers(lock),
        "path/BUILD.bazel": _paths(lock["paths"], join_mirrors(mirrors, lock.get("mirrors", {}))),
    }
    for system in sorted({s: None for systems in lock["roots"].values() for s in systems}):
        files[system + "/BUILD.bazel"] = _roots(lock, system)
    return files

def nars_file(hub, nars):
    """The file by which a WORKSPACE declares the NARs' repositories.

    Args:
      hub: string, what its user calls the repository; it names the macro.
      nars: dict, as `nar_repositories` returns it.

    Returns:
      string, the text of a .bzl file.
    """
    lines = [_HEADER + _load("//rules/private:nar_repository.bzl", "nar_repository") + "_NARS = {"]
    for name, attributes in nars.items():
        lines.append("    %r: {" % name)
        lines += ["        %r: %r," % (attribute, value) for attribute, value in attributes.items()]
        lines.append("    },")
    lines += [
        "}",
        "",
        "def %s_nars():" % hub,
        '    "Declares the repositories of the lock\'s NARs. Two locks may have some in common."',
        "    for name, attributes in _NARS.items():",
        "        if not native.existing_rule(name):",
        "            nar_repository(name = name, **attributes)",
        "",
    ]
    return "\n".join(lines)

def _aliases(hub, roots):
    text = [_HEADER, _PACKAGE]
    for root in sorted(roots):
        systems = sorted(roots[root])
        actual = "//%s:%s" % (systems[0], root)
        if len(systems) > 1:
            actual = _select(
                {str(Label("//rules/system:" + system)): "//%s:%s" % (system, root) for system in systems},
                no_match_error = "@%s//:%s is locked for %s; the target platform is none of them (--platforms)" % (hub, root, ", ".join(systems)),
            )
        text.append(_rule("alias", {"name": root, "actual": actual}))
    return "".join(text)

def _roots(lock, system):
    text = [_HEADER, _load("//rules/private:store_root.bzl", "store_root"), _PACKAGE]
    plan = lock["plan"]
    for root in sorted(lock["roots"]):
        if system in lock["roots"][root]:
            text.append(_rule("store_root", {
                "name": root,
                "layers": ["//layer:" + layer for layer in plan["images"][root][system]],
                "max_layers": plan["max_layers"],
                "path": "//path:" + _base(lock["roots"][root][system]),
                "root": root,
                "system": system,
            }))
    return "".join(text)

def _paths(paths, mirrors):
    text = [_HEADER, _load("//rules/private:store_path.bzl", "store_path"), _PACKAGE]
    nar_fetch_action = str(Label("//:nar_fetch_action"))
    for path in sorted(paths):
        fields = paths[path]
        base = _base(path)
        nar = "@%s//:nar" % nar_repository_name(fields["file_hash"])
        attributes = {
            "name": base,
            "compression": fields["compression"],
            "file_hash": fields["file_hash"],
            "file_size": str(fields["file_size"]),
            "nar": nar,
            "nar_hash": fields["nar_hash"],
            "nar_size": str(fields["nar_size"]),
            "path": path,
            "references": [":" + r for r in fields["references"] if r != base],
        }
        if base in fields["references"]:
            attributes["self_reference"] = True
        if "content_addressed" in fields:
            attributes["content_address"] = fields["content_addressed"]
        if "signature" in fields:
            attributes["signatures"] = [fields["signature"]]
        urls = nar_urls(fields["url"], mirrors)
        if fetched_in_action(urls):
            attributes["nar"] = _select({nar_fetch_action: None, "//conditions:default": nar})
            attributes["urls"] = urls
        text.append(_rule("store_path", attributes))
    return "".join(text)

def _layers(lock):
    text = [_HEADER, _load("//rules/private:store_layer.bzl", "store_layer"), _PACKAGE]
    layers = lock["plan"]["layers"]
    for layer in sorted(layers):
        text.append(_rule("store_layer", {
            "name": layer,
            "paths": ["//path:" + p for p in layers[layer]],
        }))
    return "".join(text)

def _base(path):
    return path.rpartition("/")[2]

def _load(file, symbol):
    return "load(%r, %r)\n\n" % (str(Label(file)), symbol)

def _rule(rule, attributes):
    "A target, as buildifier would write it. Values are what _select returns, lists of strings, strings, numbers and booleans."
    lines = ["", rule + "("]
    for attribute, value in attributes.items():
        if type(value) == "struct":
            value = value.text
        elif type(value) == "list" and value:
            value = "\n".join(["["] + ["        %r," % v for v in value] + ["    ]"])
        else:
            value = repr(value)
        lines.append("    %s = %s," % (attribute, value))
    lines += [")", ""]
    return "\n".join(lines)

def _select(cases, **kwargs):
    "A select, to be the value of an attribute."
    lines = ["select({"] + ["        %r: %r," % case for case in cases.items()] + ["    }"]
    text = "\n".join(lines)
    for name, value in kwargs.items():
        text += ", %s = %r" % (name, value)
    return struct(text = text + ")")
