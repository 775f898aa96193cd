"The action that makes a layer: NARs in, blob and digest file out."

load(":providers/layer_info.bzl", "LayerInfo")

LAYER_TOOLCHAIN_TYPE = Label("//rules/toolchain:layer_toolchain_type")

# A compression -> how the blob's name ends.
LAYER_EXTENSIONS = {
    "gzip": ".tar.gz",
    "none": ".tar",
    "zstd": ".tar.zst",
}

# The values of a layer's compression.
COMPRESSIONS = sorted(LAYER_EXTENSIONS)

def layer_options(
        level = "",
        allow_whiteout_names = False,
        owner = "",
        owner_names = "",
        mtime = 1,
        strip_prefix = "",
        exclude = [],
        modes = {}):
    """Says what a layer's bytes depend on beside its NARs and its compression, as arguments of the layer tool.

    What is left as it is by default gives no argument.

    Args:
      level: string, as the tool's --level.
      allow_whiteout_names: bool.
      owner: string, "UID:GID".
      owner_names: string, "USER:GROUP".
      mtime: int, seconds since 1970.
      strip_prefix: string, a directory of the one store path, or ".".
      exclude: list of patterns.
      modes: dict of pattern to octal digits.

    Returns:
      list of strings.
    """
    options = []
    if level:
        options.append("--level=" + level)
    if allow_whiteout_names:
        options.append("--allow-whiteout-names")
    if owner:
        options.append("--owner=" + owner)
    if owner_names:
        options.append("--owner-names=" + owner_names)
    if mtime != 1:
        options.append("--mtime=%d" % mtime)
    if strip_prefix:
        options.append("--strip-prefix=" + strip_prefix)
    options += ["--exclude=" + pattern for pattern in exclude]
    options += ["--mode=%s:%s" % (mode, pattern) for pattern, mode in modes.items()]
    for o in options:
        if "\n" in o:
            fail("%r: a line break can't be part of an option" % o)
    return options

def layer_action(ctx, name, entries, compression, options = [], stripped = False, altered = False, mtree = False):
    """Declares the action that makes a layer.

    Args:
      ctx: the rule's context; the rule has the toolchain type LAYER_TOOLCHAIN_TYPE.
      name: string. The outputs' path without extension, relative to the package.
      entries: list of StorePathInfo entries, at least one, no path twice. Their order is of no consequence.
      compression: string, one of COMPRESSIONS.
      options: list of strings, from layer_options.
      stripped: bool. Whether they strip a prefix: what is in the layer is then no store path.
      altered: bool. Whether they leave files out or set modes.
      mtree: bool. Whether the action writes a listing too.

    Returns:
      The LayerInfo.
    """
    entries = sorted(entries, key = lambda e: e.path)
    name = _short(name)
    blob = ctx.actions.declare_file(name + LAYER_EXTENSIONS[compression])
    digest_file = ctx.actions.declare_file(name + ".json")

    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add(blob, format = "--output=%s")
    args.add(digest_file, format = "--digest-file=%s")
    outputs = [blob, digest_file]
    listing = None
    if mtree:
        listing = ctx.actions.declare_file(name + ".mtree")
        outputs.append(listing)
        args.add(listing, format = "--mtree=%s")
    args.add(compression, format = "--compression=%s")
    args.add_all(options)
    nars = []
    for e in entries:
        args.add(e.path, format = "--store-path=%s")
        args.add(e.nar_hash, format = "--nar-hash=%s")
        args.add(e.nar_size, format = "--nar-size=%s")
        args.add(e.compression, format = "--nar-compression=%s")
        if e.file_hash:
            args.add(e.file_hash, format = "--file-hash=%s")
        if e.file_size:
            args.add(e.file_size, format = "--file-size=%s")
        if e.nar:
            args.add(e.nar, format = "--nar=%s")
            nars.append(e.nar)
        else:
            args.add_all(e.urls, format_each = "--url=%s")

    fetches = len(nars) < len(entries)
    ctx.actions.run(
        executable = ctx.toolchains[LAYER_TOOLCHAIN_TYPE].tool,
        arguments = [args],
        inputs = nars,
        outputs = outputs,
        mnemonic = "StrataLayer",
        progress_message = "%s layer %s" % ("Fetching" if fetches else "Writing", _summary(entries)),
        resource_set = _small_resources if _nar_size(entries) <= _SMALL else _resources,
        toolchain = LAYER_TOOLCHAIN_TYPE,
        **nar_action_arguments(fetches)
    )
    return LayerInfo(
        blob = blob,
        digest_file = digest_file,
        compression = compression,
        mtree = listing,
        store_paths = () if stripped else tuple(entries),
        stripped = tuple(entries) if stripped else (),
        altered = altered,
        on_top = stripped,
        refers_to = (),
        label = ctx.label,
    )

def nar_action_arguments(fetches):
    """Says what an action is run with that reads NARs.

    Args:
      fetches: bool, whether it downloads some of them.

    Returns:
      dict, arguments of `ctx.actions.run`.
    """
    requirements = {"supports-path-mapping": "1"}
    env = {}
    if fetches:
        # Pinned by hash, as a fixed-output derivation is: what comes back is checked, or the action fails.
        requirements["requires-network"] = "1"

        # Proxies and credentials come in by --action_env=HTTPS_PROXY, NETRC, STRATA_CREDENTIAL_HELPER. Bazel adds these two of its own accord, as the user has them,
        # unless --incompatible_strict_action_env is set; then no two machines would share a layer in a cache.
        env = {
            "LD_LIBRARY_PATH": "",
            "PATH": "/usr/bin:/bin",
        }
    return {
        "env": env,
        "execution_requirements": requirements,
        "use_default_shell_env": fetches,
    }

def _resources(_os, _inputs):
    "What Bazel reckons with: decoding, hashing and compressing run beside each other, in memory that is bounded."
    return {"cpu": 2, "memory": 64}

# A layer of NARs of so many bytes in all is made in less time than Bazel takes to start and end an action.
_SMALL = 1 << 20

def _small_resources(_os, _inputs):
    "Of a small layer: most of it is the start of a process, so that there can be one for each core."
    return {"cpu": 1, "memory": 64}

def _nar_size(entries):
    size = 0
    for e in entries:
        size += int(e.nar_size)
    return size

def _short(name):
    "A store path's name has up to 244 bytes, a file's 255; the tool and Bazel append to what is said here."
    directory, slash, base = name.rpartition("/")
    if len(base) > 200:
        base = base[:100] + base[-100:]
    return directory + slash + base

def _summary(entries):
    "What a layer holds, in a few words: the name of its largest path, without the hash."
    largest = entries[0]
    for e in entries:
        if int(e.nar_size) > int(largest.nar_size):
            largest = e
    name = largest.path.rpartition("/")[2][33:]
    return name if len(entries) == 1 else "%s and %d more" % (name, len(entries) - 1)
