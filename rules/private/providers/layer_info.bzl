"LayerInfo: one layer's blob and what is known of it."

LayerInfo = provider(
    doc = """One layer of an image.

`store_layer` makes it. `image` reads `digest_file` for the manifest, and `blob` only for the archive and the layout.
""",
    fields = {
        "blob": "File. The layer as registries hold it: a tar, compressed as `compression` says; never None. Its SHA-256 is the layer's OCI digest.",
        "digest_file": "File. JSON, written by the same action: `descriptor` (OCI: mediaType, digest, size), `diffID`, `uncompressedSize`, `compression`, `storePaths` and more (tool/digestfile has it field by field); never None.",
        "compression": "string. `gzip`, `zstd` or `none`; never None.",
        "store_paths": "tuple of structs. The store paths whose NARs the layer holds, sorted by path, each an `entry` as StorePathInfo has it. `image` checks by it that every path is in exactly one layer.",
        "label": "Label. The target that declares the layer; for messages.",
    },
)
