"LayerInfo: one layer's blob and what is known of it."

LayerInfo = provider(
    doc = """One layer of an image.

`store_layer`, `file_layer`, `root_layer`, `etc_layer`, `tar_layer` and `run_layer` make it. `image` reads `digest_file` for the manifest, and `blob` only for the archive and the layout.
""",
    fields = {
        "blob": "File. The layer as registries hold it: a tar, compressed as `compression` says; never None. Its SHA-256 is the layer's OCI digest.",
        "digest_file": "File. JSON, written by the same action: `descriptor` (OCI: mediaType, digest, size), `diffID`, `uncompressedSize`, `compression`, `storePaths`, whom the layer's `/etc/passwd` and `/etc/group` define, and more (tool/digestfile has it field by field); never None.",
        "compression": "string. `gzip`, `zstd` or `none`; never None.",
        "mtree": "File. A listing of the layer as mtree(5) has it, for reviews and tests; None unless the layer asks for it.",
        "store_paths": "tuple of structs. The store paths whose NARs the layer holds, sorted by path, each an `entry` as StorePathInfo has it. `image` checks by it that every path is in exactly one layer. Empty for a layer that strips a prefix.",
        "stripped": "tuple of structs. Of a layer that strips a prefix: the one store path whose files it holds elsewhere, an `entry` as above; else empty. `image` checks by it that what the files refer to is in the image.",
        "altered": "bool. Whether the files of `store_paths` are not all there as their NARs have them: some are left out, or have other modes. `image` makes no database of such.",
        "on_top": "bool. Whether `image` puts the layer above those of the store, in the order of its `layers`: True for a layer of files, and for one that strips a prefix.",
        "refers_to": "tuple of strings. The store paths that what is in the layer leads to, beside those above. `image` checks by it that they are in the image.",
        "label": "Label. The target that declares the layer; for messages.",
    },
)
