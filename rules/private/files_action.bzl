"The action that makes a layer of what an image holds beside its store paths."

load(":layer_action.bzl", "LAYER_EXTENSIONS", "nar_action_arguments")
load(":providers/layer_info.bzl", "LayerInfo")

FILES_TOOLCHAIN_TYPE = Label("//rules/toolchain:files_toolchain_type")

def files_args(ctx):
    """Arguments of the action, a line each.

    Args:
      ctx: the rule's context.

    Returns:
      Args.
    """
    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    return args

def entry(type, file = None, **fields):
    """Something that the layer holds.

    Args:
      type: string, as tool/filelayer has them.
      file: File, what the tool calls `from`; or None.
      **fields: the type's other fields. None is no field.

    Returns:
      struct, for add_entries.
    """
    return struct(
        type = type,
        file = file,
        fields = {name: value for name, value in fields.items() if value != None},
    )

def add_entries(args, entries):
    """Adds entries to arguments, in order.

    Args:
      args: Args, from files_args.
      entries: list of what `entry` returns.
    """

    # Made text of no sooner than the action runs: File.path is then what path mapping makes of it.
    args.add_all(entries, map_each = entry_argument)

def entry_argument(e):
    """An entry as an argument; for map_each.

    Args:
      e: what `entry` returns.

    Returns:
      string.
    """
    members = {"type": e.type} | e.fields
    if e.file:
        members["from"] = e.file.path
    return "--entry=" + json.encode(members)

def _nar_argument(e):
    members = {
        "compression": e.compression,
        "nar_hash": e.nar_hash,
        "nar_size": e.nar_size,
        "store_path": e.path,
    }
    if e.file_hash:
        members["file_hash"] = e.file_hash
    if e.file_size:
        members["file_size"] = e.file_size
    if e.nar:
        members["nar"] = e.nar.path
    else:
        members["urls"] = list(e.urls)
    return "--nar=" + json.encode(members)

def pair(option, a, b):
    """An option of two strings.

    Args:
      option: string, as `--rename`.
      a: string.
      b: string.

    Returns:
      string, the argument.
    """
    return "%s=%s" % (option, json.encode([a, b]))

def files_action(ctx, entries, compression, inputs = depset(), options = [], roots = [], mtree = False):
    """Declares the action.

    Args:
      ctx: the rule's context; the rule has the toolchain type FILES_TOOLCHAIN_TYPE.
      entries: list of Args with the entries, from files_args.
      compression: string, one of COMPRESSIONS.
      inputs: depset of the files in entries.
      options: list of strings, further arguments.
      roots: list of StorePathInfo entries: the store paths that entries are about. Images must have them.
      mtree: bool. Whether the action writes a listing too.

    Returns:
      The LayerInfo.
    """
    name = ctx.label.name
    blob = ctx.actions.declare_file(name + LAYER_EXTENSIONS[compression])
    digest_file = ctx.actions.declare_file(name + ".json")
    outputs = [blob, digest_file]
    args = files_args(ctx)
    args.add("layer")
    args.add(blob, format = "--output=%s")
    args.add(digest_file, format = "--digest-file=%s")
    listing = None
    if mtree:
        listing = ctx.actions.declare_file(name + ".mtree")
        outputs.append(listing)
        args.add(listing, format = "--mtree=%s")
    args.add(compression, format = "--compression=%s")
    for o in options:
        if "\n" in o:
            fail("%r: a line break can't be part of an option" % o)
    args.add_all(options)

    roots = {e.path: e for e in roots}.values()
    args.add_all(roots, map_each = _nar_argument)
    nars = [e.nar for e in roots if e.nar]
    ctx.actions.run(
        executable = ctx.toolchains[FILES_TOOLCHAIN_TYPE].tool,
        arguments = [args] + entries,
        inputs = depset(nars, transitive = [inputs]),
        outputs = outputs,
        mnemonic = "StrataFiles",
        progress_message = "Writing layer %{label}",
        toolchain = FILES_TOOLCHAIN_TYPE,
        **nar_action_arguments(fetches = len(nars) < len(roots))
    )
    return files_layer(ctx, blob, digest_file, compression, mtree = listing, refers_to = [e.path for e in roots])

def files_layer(ctx, blob, digest_file, compression, mtree = None, refers_to = []):
    """A layer that holds something else than store paths, and so lies on top of those that do.

    Args:
      ctx: the context of the rule that makes it.
      blob: File.
      digest_file: File.
      compression: string, one of COMPRESSIONS.
      mtree: File with a listing, or None.
      refers_to: list of strings, the store paths that it leads to.

    Returns:
      The LayerInfo.
    """
    return LayerInfo(
        blob = blob,
        digest_file = digest_file,
        compression = compression,
        mtree = mtree,
        store_paths = (),
        stripped = (),
        altered = False,
        on_top = True,
        refers_to = tuple(refers_to),
        label = ctx.label,
    )

def layer_providers(layer):
    """What a rule that makes a layer of files returns.

    Args:
      layer: LayerInfo.

    Returns:
      list of providers.
    """
    return [
        DefaultInfo(files = depset([layer.blob])),
        OutputGroupInfo(
            blob = depset([layer.blob]),
            digest_file = depset([layer.digest_file]),
            mtree = depset([layer.mtree] if layer.mtree else []),
        ),
        layer,
    ]
