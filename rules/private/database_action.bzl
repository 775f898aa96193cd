"The action that makes the layer by which Nix or Guix knows an image's store paths."

load(":files_action.bzl", "files_layer")
load(":layer_action.bzl", "LAYER_EXTENSIONS")

DATABASE_TOOLCHAIN_TYPE = Label("//rules/toolchain:database_toolchain_type")

# Whose database it is -> the store directory that it is of.
DATABASE_STORES = {
    "guix": "/gnu/store",
    "nix": "/nix/store",
}

def database_error(kind, paths, altered):
    """Says why there can be no database of store paths.

    Args:
      kind: string, a key of DATABASE_STORES.
      paths: list of strings, the store paths.
      altered: list of Labels, the layers of the image whose store paths are not as their NARs are.

    Returns:
      string or None.
    """
    if not paths:
        return "there are no store paths in the image"
    for path in paths:
        directory = path.rpartition("/")[0]
        for other, store in DATABASE_STORES.items():
            if directory == store and other != kind:
                return "%s is in %s; set %s_database instead" % (path, store, other)
        if directory != DATABASE_STORES[kind]:
            return "%s is in %s, whose database is not known to be anywhere" % (path, directory)
    for label in altered:
        return "it registers store paths whole and as they are; layer %s leaves files out or changes modes" % label
    return None

def database_action(ctx, kind, entries, roots, registration_time, compression):
    """Declares the action.

    Args:
      ctx: the rule's context; the rule has the toolchain type DATABASE_TOOLCHAIN_TYPE.
      kind: string, a key of DATABASE_STORES.
      entries: list of StorePathInfo entries: what is registered. All that they refer to is among them.
      roots: list of strings, the store paths that are the image's contents.
      registration_time: int, seconds since 1970.
      compression: string, one of COMPRESSIONS.

    Returns:
      The LayerInfo.
    """
    name = "%s.%s_database" % (ctx.label.name, kind)
    blob = ctx.actions.declare_file(name + LAYER_EXTENSIONS[compression])
    digest_file = ctx.actions.declare_file(name + ".json")
    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add(blob, format = "--output=%s")
    args.add(digest_file, format = "--digest-file=%s")
    args.add(compression, format = "--compression=%s")
    args.add(kind, format = "--kind=%s")
    args.add("--registration-time=%d" % registration_time)
    args.add_all(roots, format_each = "--root=%s", uniquify = True)
    args.add_all(entries, map_each = _nix_path_argument if kind == "nix" else _path_argument)
    ctx.actions.run(
        executable = ctx.toolchains[DATABASE_TOOLCHAIN_TYPE].tool,
        arguments = [args],
        outputs = [blob, digest_file],
        mnemonic = "StrataDatabase",
        progress_message = "Writing store database %{label}",
        execution_requirements = {"supports-path-mapping": "1"},
        env = {},
        toolchain = DATABASE_TOOLCHAIN_TYPE,
    )
    return files_layer(ctx, blob, digest_file, compression)

def _path_argument(e):
    return _argument(e, {})

def _nix_path_argument(e):
    fields = {}
    if e.signatures:
        fields["signatures"] = e.signatures
    if e.content_address:
        fields["content_address"] = e.content_address
    return _argument(e, fields)

def _argument(e, fields):
    return "--path=" + json.encode(fields | {
        "nar_hash": e.nar_hash,
        "nar_size": e.nar_size,
        "path": e.path,
        "references": e.references,
    })
