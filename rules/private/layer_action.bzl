"The action that makes a layer: NARs in, blob and digest file out."

load(":providers/layer_info.bzl", "LayerInfo")

LAYER_TOOLCHAIN_TYPE = Label("//rules/toolchain:layer_toolchain_type")

_EXTENSIONS = {
    "gzip": ".tar.gz",
    "none": ".tar",
    "zstd": ".tar.zst",
}

# The values of a layer's compression.
COMPRESSIONS = sorted(_EXTENSIONS)

def layer_action(ctx, name, entries, compression):
    """Declares the action that makes a layer.

    Args:
      ctx: the rule's context; the rule has the toolchain type LAYER_TOOLCHAIN_TYPE.
      name: string. The outputs' path without extension, relative to the package.
      entries: list of StorePathInfo entries, at least one, no path twice. Their order is of no consequence.
      compression: string, one of COMPRESSIONS.

    Returns:
      The LayerInfo.
    """
    entries = sorted(entries, key = lambda e: e.path)
    name = _short(name)
    blob = ctx.actions.declare_file(name + _EXTENSIONS[compression])
    digest_file = ctx.actions.declare_file(name + ".json")

    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add(blob, format = "--output=%s")
    args.add(digest_file, format = "--digest-file=%s")
    args.add(compression, format = "--compression=%s")
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
    requirements = {"supports-path-mapping": "1"}
    env = {}
    if fetches:
        # Pinned by hash, as a fixed-output derivation is: what comes back is checked, or the action fails.
        requirements["requires-network"] = "1"

        # Proxies come in by --action_env=HTTPS_PROXY. Bazel adds these two of its own accord, as the user has them,
        # unless --incompatible_strict_action_env is set; then no two machines would share a layer in a cache.
        env = {
            "LD_LIBRARY_PATH": "",
            "PATH": "/usr/bin:/bin",
        }
    ctx.actions.run(
        executable = ctx.toolchains[LAYER_TOOLCHAIN_TYPE].tool,
        arguments = [args],
        inputs = nars,
        outputs = [blob, digest_file],
        mnemonic = "StrataLayer",
        progress_message = "%s layer %s" % ("Fetching" if fetches else "Writing", _summary(entries)),
        execution_requirements = requirements,
        toolchain = LAYER_TOOLCHAIN_TYPE,
        env = env,
        use_default_shell_env = fetches,
    )
    return LayerInfo(
        blob = blob,
        digest_file = digest_file,
        compression = compression,
        store_paths = tuple(entries),
        label = ctx.label,
    )

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
