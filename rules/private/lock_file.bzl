"""What is in a lock (strata.lock.json), checked.

Pure functions; faults are strings that name the field. A lock that is damaged, edited or of another version must give
an error that says where, and never a wrong image. What the tools (tool/lock/parse.go) refuse, is refused here too, with
these exceptions: what Starlark can't see (a field that is there twice, the form of signatures and content addresses), and what
Bazel itself finds later (paths that refer to each other; an image's layers that are not the root's closure).
"""

load(":layer_selection.bzl", "MAX_LAYERS")
load(":mirrors.bzl", "mirrors_error")
load(
    ":store_names.bzl",
    "base_name_error",
    "consists_of",
    "nar_compression_error",
    "nar_url_error",
    "root_name_error",
    "sha256_error",
    "store_path_error",
)
load(":systems.bzl", "SYSTEMS")

_VERSION = 1

_FIELDS = ["version", "roots", "sources", "caches", "mirrors", "paths", "plan"]
_PATH_FIELDS = ["url", "compression", "file_hash", "file_size", "nar_hash", "nar_size", "references"]
_PLAN_FIELDS = ["strategy", "max_layers", "layers", "images", "history"]

# Of these a path has one: who vouches for it. `strata verify` sees to what they say.
_VOUCHERS = ["signature", "signed_by", "content_addressed", "allowed_unsigned_by"]

_NO_HASH = "sha256:" + "0" * 64
_MAX_SOURCE = 4096
_MAX_LAYER_NAME = 255

_LABEL_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._?="

# 64 bits, signed: no NAR is larger.
_MAX_SIZE = 9223372036854775807

def decode_lock(text):
    """Reads a lock, without checking it.

    Args:
      text: string, what is in the file.

    Returns:
      what JSON holds, in Starlark's types; None if it isn't JSON. After `lock_error` has found nothing it is a dict with
      `roots`: name -> system -> store path,
      `mirrors`, which may be missing: URL of a cache -> list of URLs,
      `paths`: store path -> dict with `url`, `compression`, `file_hash` and `nar_hash` (`sha256:<64 hex>`), `file_size`
      and `nar_size` (int) and `references` (list of base names), and
      `plan`: dict with `max_layers` (int), `layers` (name -> list of base names) and `images` (root -> system -> list
      of layer names, for each root and system).
    """
    return json.decode(text, default = None)

def lock_head_error(lock):
    """Says what is wrong with a lock on the face of it: enough to tell another file or version from a lock.

    Args:
      lock: what `decode_lock` returned.

    Returns:
      string that names the field, or None if nothing is.
    """
    if type(lock) != "dict":
        return "not a JSON object; if a merge left its marks in it, run `strata lock` again"
    version = lock.get("version")
    if type(version) != "int" or version != _VERSION:
        return "version: %r: this release of rules_strata reads version %d; run its own `strata lock`" % (version, _VERSION)
    for field in ["roots", "paths"]:
        if type(lock.get(field)) != "dict":
            return "%s: want an object" % field
    error = _unknown_field(lock, _FIELDS)
    if error:
        return error
    error = mirrors_error(lock.get("mirrors", {}))
    if error:
        return "mirrors: " + error
    return None

def _unknown_field(value, known):
    for field in value:
        if field not in known:
            return "%s: unknown field; known are %s" % (field, ", ".join(known))
    return None

def nar_error(fields):
    """Says why there can be no repository for a path's NAR.

    Args:
      fields: what the lock has for the path.

    Returns:
      string that names the field, or None if there can be one.
    """
    if type(fields) != "dict":
        return "want an object"
    file_hash = fields.get("file_hash")
    url = fields.get("url")
    if type(file_hash) != "string" or type(url) != "string":
        return "want an object with file_hash and url"
    error = sha256_error(file_hash)
    if error:
        return "file_hash: " + error
    return None

def lock_error(lock):
    """Says what is wrong with a lock.

    Args:
      lock: what `decode_lock` returned.

    Returns:
      string that names the field, or None if nothing is.
    """
    error = lock_head_error(lock)
    if error:
        return error
    caches = lock.get("caches")
    error = _caches_error(caches, lock.get("mirrors"))
    if error:
        return error
    prefixes = tuple([c.rstrip("/") + "/" for c in caches])
    paths = lock["paths"]
    bases, error = _bases(paths)
    if error:
        return "paths: " + error
    for path in paths:
        error = _path_error(paths[path], bases, caches, prefixes)
        if error:
            return "paths: %s: %s" % (path, error)
    error = _roots_error(lock["roots"], paths)
    if error:
        return "roots: " + error
    unreached = _unreached(lock["roots"], paths)
    if unreached:
        return "paths: %s: no root needs this path; run `strata lock`" % unreached
    error = _sources_error(lock.get("sources"), lock["roots"]) if "sources" in lock else None
    if error:
        return "sources: " + error
    error = _plan_error(lock.get("plan"), bases, lock["roots"])
    if error:
        return "plan: " + error
    return None

def _bases(paths):
    "Returns the set of all base names, as a dict, and an error."
    bases = {}
    directory = None
    for path in paths:
        d, _, base = path.rpartition("/")
        error = base_name_error(base) if d == directory else store_path_error(path)
        if error:
            return None, "%s: %s" % (path, error)
        if bases and d != directory:
            return None, "%s: other paths are in %s; a lock is for one store directory" % (path, directory)
        directory = d
        bases[base] = True
    return bases, None

def _caches_error(caches, mirrors):
    if type(caches) != "list" or not caches:
        return "caches: want a list that is not empty"
    for i, cache in enumerate(caches):
        error = _cache_url_error(cache) or ("%s is there twice" % cache if cache in caches[:i] else None)
        if error:
            return "caches: " + error
    if mirrors == None:
        return None
    if not mirrors:
        return "mirrors: want at least one cache; leave the field out"
    for cache, urls in mirrors.items():
        if cache not in caches:
            return "mirrors: %s: want one of the lock's caches: %s" % (cache, ", ".join(caches))
        for i, url in enumerate(urls):
            error = _cache_url_error(url) or ("%s is there twice" % url if url == cache or url in urls[:i] else None)
            if error:
                return "mirrors: %s: %s" % (cache, error)
    return None

def _cache_url_error(url):
    error = nar_url_error(url) if type(url) == "string" else "%r: want a string" % url
    if error:
        return error
    if "?" in url or "#" in url:
        return "%s: want a cache's URL without query and fragment" % url
    if url.endswith("/") and url.rstrip("/") != "file:":
        return "%s: want no slash at its end" % url
    return None

def _path_error(fields, bases, caches, prefixes):
    error = nar_error(fields) or _unknown_field(fields, _PATH_FIELDS + _VOUCHERS)
    if error:
        return error
    error = nar_url_error(fields["url"])
    if error:
        return "url: " + error
    if not fields["url"].startswith(prefixes):
        return "url: %s: want a file of one of the lock's caches: %s" % (fields["url"], ", ".join(caches))
    error = nar_compression_error(fields.get("compression"))
    if error:
        return "compression: " + error
    nar_hash = fields.get("nar_hash")
    error = sha256_error(nar_hash) if type(nar_hash) == "string" else "want a string"
    if error:
        return "nar_hash: " + error
    for field in ["file_hash", "nar_hash"]:
        if fields[field] == _NO_HASH:
            return "%s: the hash is not set" % field
    for field in ["file_size", "nar_size"]:
        size = fields.get(field)
        if type(size) != "int" or not 0 < size or not size <= _MAX_SIZE:
            return "%s: %r: want a number of bytes above 0" % (field, size)
    references = fields.get("references")
    if type(references) != "list":
        return "references: want a list of base names"
    last = ""
    for r in references:
        if type(r) != "string" or r not in bases:
            return "references: %r is not in the lock" % r
        if not last < r:
            return "references: want base names in ascending order, each once; found %s after %s" % (r, last)
        last = r
    vouchers = [field for field in _VOUCHERS if field in fields]
    if len(vouchers) != 1:
        return "want one of " + ", ".join(_VOUCHERS)
    voucher = fields[vouchers[0]]
    if type(voucher) != "string" or not voucher:
        return "%s: want a string that is not empty" % vouchers[0]
    if vouchers[0] == "allowed_unsigned_by" and voucher not in caches:
        return "allowed_unsigned_by: %s: want one of the lock's caches: %s" % (voucher, ", ".join(caches))
    return None

def _unreached(roots, paths):
    "A path that is in no root's closure, or None. Each round goes one reference further; there are at most as many as paths."
    reached = {path: None for systems in roots.values() for path in systems.values()}
    if not reached:
        return None
    prefix = reached.keys()[0].rpartition("/")[0] + "/"
    new = reached.keys()
    for _ in range(len(paths)):
        new = {prefix + r: None for path in new for r in paths[path]["references"] if prefix + r not in reached}
        if not new:
            break
        reached.update(new)
    for path in paths:
        if path not in reached:
            return path
    return None

def _sources_error(sources, roots):
    if type(sources) != "dict" or not sources:
        return "want an object with at least one root; leave the field out"
    for root, systems in sources.items():
        if root not in roots or type(systems) != "dict" or not systems:
            return "%s: want an object for a root of the lock" % root
        for system, text in systems.items():
            if system not in roots[root]:
                return "%s: %s: the root is not locked for that system" % (root, system)
            if type(text) != "string" or not text or len(text) > _MAX_SOURCE:
                return "%s: %s: want 1 to %d characters" % (root, system, _MAX_SOURCE)
    return None

def _roots_error(roots, paths):
    if not roots:
        return "want at least one"
    for root, systems in roots.items():
        error = root_name_error(root)
        if error:
            return error
        if type(systems) != "dict" or not systems:
            return "%s: want an object with the root's store path for each system" % root
        by_platform = {}
        for system, path in systems.items():
            if system not in SYSTEMS:
                return "%s: %r is no system that images can be made for; known are %s" % (root, system, ", ".join(SYSTEMS))
            if type(path) != "string" or path not in paths:
                return "%s: %s: %r is not in the lock" % (root, system, path)
            other = by_platform.setdefault(tuple(SYSTEMS[system]), system)
            if other != system:
                return "%s: %s and %s are the same platform; keep one of them" % (root, other, system)
    return None

def _plan_error(plan, bases, roots):
    if type(plan) != "dict":
        return "want an object"
    error = _unknown_field(plan, _PLAN_FIELDS)
    if error:
        return error
    strategy = plan.get("strategy")
    if type(strategy) != "string" or not strategy:
        return "strategy: want a string that is not empty"
    max_layers = plan.get("max_layers")
    if type(max_layers) != "int" or not 1 <= max_layers or not max_layers <= MAX_LAYERS:
        return "max_layers: %r: want 1 to %d" % (max_layers, MAX_LAYERS)
    layers = plan.get("layers")
    images = plan.get("images")
    for field, value in [("layers", layers), ("images", images)]:
        if type(value) != "dict":
            return "%s: want an object" % field
    for layer, paths in layers.items():
        error = _layer_name_error(layer)
        if error:
            return "layers: %s" % error
        error = _list_error(paths, bases, "not in the lock")
        if not error and paths != sorted(paths):
            error = "want base names in ascending order"
        if error:
            return "layers: %s: %s" % (layer, error)
    for root, systems in images.items():
        if root not in roots or type(systems) != "dict":
            return "images: %s: want an object for a root of the lock" % root
        for system in systems:
            if system not in roots[root]:
                return "images: %s: %s: the root is not locked for that system" % (root, system)
    for root, systems in roots.items():
        for system in systems:
            names = images.get(root, {}).get(system)
            error = _list_error(names, layers, "no layer of the plan")
            if not error and len(names) > max_layers:
                error = "want at most max_layers = %d layers, found %d" % (max_layers, len(names))
            if error:
                return "images: %s: %s: %s" % (root, system, error)
    if type(plan.get("history", {})) != "dict":
        return "history: want an object"
    used = {name: None for systems in images.values() for names in systems.values() for name in names}
    for layer in layers:
        if layer not in used:
            return "layers: %s: no image has this layer; run `strata lock`" % layer
    return None

def _list_error(names, known, unknown):
    if type(names) != "list" or not names:
        return "want a list that is not empty"
    seen = {}
    for name in names:
        if type(name) != "string" or name not in known:
            return "%r is %s" % (name, unknown)
        if name in seen:
            return "%r is there twice" % name
        seen[name] = True
    return None

def _layer_name_error(name):
    if not 1 <= len(name) or not len(name) <= _MAX_LAYER_NAME or not consists_of(name, _LABEL_CHARACTERS) or not name.strip("."):
        return "%r: want a name of 1 to 255 letters, digits and + - . _ ? =" % name
    return None

def nar_repository_name(file_hash):
    """The name of the repository that holds a NAR.

    Args:
      file_hash: string, `sha256:<64 hex>` of the NAR as stored.

    Returns:
      string, as `strata_nar_0f6ea4...` with half of the hash: paths whose NARs are the same file share it.
    """
    return "strata_nar_" + file_hash[len("sha256:"):][:32]

def fetched_in_action(urls):
    """Whether a NAR can be fetched by the layer action.

    Args:
      urls: list of strings, where the NAR is.

    Returns:
      bool. False if there is a `file:` among them: such a NAR is always a plain input of the action, which may read no
      other file.
    """
    return not [url for url in urls if url.startswith("file:")]

def resolve_file_url(url, directory):
    """Makes a lock's file: URL absolute.

    Args:
      url: string. A URL; what isn't `file:`, or is absolute already, comes back as it is.
      directory: string, the absolute path of the lock's directory, not encoded. Not read for other URLs.

    Returns:
      string, as `file:///home/me/work/cache/nar/1gqi....nar.xz`.
    """
    if not url.startswith("file:") or url.startswith("file://"):
        return url
    if url.startswith("file:/"):
        return "file://" + url[len("file:"):]
    for character, code in [("%", "%25"), (" ", "%20"), ("#", "%23"), ("?", "%3F")]:
        directory = directory.replace(character, code)
    components = []
    for c in (directory + "/" + url[len("file:"):]).split("/"):
        if c == "..":
            components = components[:-1]
        elif c not in ["", "."]:
            components.append(c)
    return "file:///" + "/".join(components)
