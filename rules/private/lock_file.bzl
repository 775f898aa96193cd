"""What is in a lock (strata.lock.json), checked as far as Bazel relies on it.

Pure functions: text in, structs out, and faults as strings that name the field. `strata lock` writes locks and is
strict about them; here a lock that is damaged, edited or of another version must give an error that says where, and
never a wrong image.
"""

load(":store_names.bzl", "consists_of", "sha256_error", "store_path_error")

_VERSION = 1

_LABEL_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._?="

# 64 bits, signed: no NAR is larger.
_MAX_SIZE = 9223372036854775807

def parse_lock(text):
    """Reads a lock.

    Args:
      text: string, what is in the file.

    Returns:
      struct with these fields:
      `error`: string that names the field, or None. If it is not None then the rest is of no use.
      `paths`: dict from base name to struct(path, url, compression, file_hash, file_size, nar_hash, nar_size,
        references). `file_hash` and `nar_hash` are `sha256:<64 hex>`, the sizes int, `references` a sorted list of base names.
      `roots`: dict from root name to dict from system to base name.
      `layers`: dict from layer name to the sorted list of base names in it.
      `images`: dict from root name to dict from system to list of layer names; without those that have no plan.
    """
    lock = json.decode(text, default = None)
    if type(lock) != "dict":
        return _error("not a JSON object; if a merge left its marks in it, run `strata lock` again")
    version = lock.get("version")
    if version != _VERSION:
        return _error("version: %r: this release of rules_strata reads version %d; run its own `strata lock`" % (version, _VERSION))
    for field in ["roots", "paths"]:
        if type(lock.get(field)) != "dict":
            return _error("%s: want an object" % field)

    paths, error = _paths(lock["paths"])
    if error:
        return _error("paths: " + error)
    roots, error = _roots(lock["roots"], paths)
    if error:
        return _error("roots: " + error)
    layers, images, error = _plan(lock.get("plan", {}), paths, roots)
    if error:
        return _error("plan: " + error)
    return struct(
        error = None,
        paths = paths,
        roots = roots,
        layers = layers,
        images = images,
    )

def _error(message):
    return struct(error = message, paths = {}, roots = {}, layers = {}, images = {})

def _paths(paths):
    result = {}
    for path, fields in sorted(paths.items()):
        parsed, error = _path(path, fields)
        if error:
            return None, "%s: %s" % (path, error)
        base = path.rpartition("/")[2]
        if base in result:
            return None, "%s: %s is there as well; a lock is for one store directory" % (path, result[base].path)
        result[base] = parsed
    for base, parsed in result.items():
        for r in parsed.references:
            if r not in result:
                return None, "%s: references: %s is not in the lock" % (parsed.path, r)
    return result, None

def _path(path, fields):
    error = store_path_error(path)
    if error:
        return None, error
    if type(fields) != "dict":
        return None, "want an object"
    for field in ["url", "compression", "file_hash", "nar_hash"]:
        if type(fields.get(field)) != "string" or not fields[field]:
            return None, "%s: want a string that is not empty" % field
    for field in ["file_hash", "nar_hash"]:
        error = sha256_error(fields[field])
        if error:
            return None, "%s: %s" % (field, error)
    for field in ["file_size", "nar_size"]:
        size = fields.get(field)
        if type(size) != "int" or not 0 <= size or not size <= _MAX_SIZE:
            return None, "%s: %r: want a number of bytes" % (field, size)
    scheme, _, rest = fields["url"].partition(":")
    if scheme not in ["file", "http", "https"] or not rest or (scheme != "file" and not rest.startswith("//")):
        return None, "url: %r: want a URL that begins with https://, http:// or file:" % fields["url"]
    references = fields.get("references", [])
    if type(references) != "list" or [r for r in references if type(r) != "string"]:
        return None, "references: want a list of base names"
    return struct(
        path = path,
        url = fields["url"],
        compression = fields["compression"],
        file_hash = fields["file_hash"],
        file_size = fields["file_size"],
        nar_hash = fields["nar_hash"],
        nar_size = fields["nar_size"],
        references = sorted(references),
    ), None

def _roots(roots, paths):
    result = {}
    for root, systems in sorted(roots.items()):
        error = _target_name_error(root)
        if error:
            return None, error
        if type(systems) != "dict" or not systems:
            return None, "%s: want an object with the root's store path for each system" % root
        result[root] = {}
        for system, path in sorted(systems.items()):
            base = path.rpartition("/")[2] if type(path) == "string" else None
            if base not in paths or paths[base].path != path:
                return None, "%s: %s: %r is not in the lock" % (root, system, path)
            error = _target_name_error(system)
            if error:
                return None, "%s: %s" % (root, error)
            result[root][system] = base
    return result, None

def _plan(plan, paths, roots):
    if type(plan) != "dict":
        return None, None, "want an object"
    for field in ["layers", "images"]:
        if type(plan.get(field, {})) != "dict":
            return None, None, "%s: want an object" % field

    layers = {}
    for layer, bases in sorted(plan.get("layers", {}).items()):
        error = _target_name_error(layer)
        if error:
            return None, None, "layers: %s" % error
        if type(bases) != "list" or not bases or [b for b in bases if type(b) != "string"]:
            return None, None, "layers: %s: want a list of base names" % layer
        seen = {}
        for base in bases:
            if base not in paths:
                return None, None, "layers: %s: %s is not in the lock" % (layer, base)
            if base in seen:
                return None, None, "layers: %s: %s is there twice" % (layer, base)
            seen[base] = True
        layers[layer] = sorted(bases)

    images = {}
    for root, systems in sorted(plan.get("images", {}).items()):
        if root not in roots or type(systems) != "dict":
            return None, None, "images: %s: want an object for a root of the lock" % root
        images[root] = {}
        for system, names in sorted(systems.items()):
            if system not in roots[root] or type(names) != "list" or not names:
                return None, None, "images: %s: %s: want a list of layers, for a system of the root" % (root, system)
            seen = {}
            for name in names:
                if name not in layers or name in seen:
                    return None, None, "images: %s: %s: %r is %s" % (root, system, name, "there twice" if name in seen else "no layer of the plan")
                seen[name] = True
            images[root][system] = names
    return layers, images, None

def _target_name_error(name):
    if not name or not consists_of(name, _LABEL_CHARACTERS) or not name.strip("."):
        return "%r: want a name made of letters, digits and + - . _ ? =" % name
    return None

def nar_repository_name(file_hash):
    """The name of the repository that holds a NAR.

    Args:
      file_hash: string, `sha256:<64 hex>` of the NAR as stored.

    Returns:
      string, as `strata_nar_0f6ea4...` with half of the hash: paths whose NARs are the same file share it.
    """
    return "strata_nar_" + file_hash[len("sha256:"):][:32]

def fetched_in_action(url):
    """Whether a NAR can be fetched by the layer action.

    Args:
      url: string, a path's `url` in the lock.

    Returns:
      bool. False for `file:`: such a NAR is always a plain input of the action, which may read no other file.
    """
    return not url.startswith("file:")

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
