"BaseImageInfo: an image to build on that no rule of ours has built."

BaseImageInfo = provider(
    doc = """An image to build others on, out of a registry or a file.

A repository that pulls images makes it, so that `image` knows before anything is built how many layers the base has, and
which store paths. Without it any OCI layout or archive is a base; then both are found out when the image is built.
""",
    fields = {
        "path": "File. An OCI image layout: its directory, or the `index.json` in it; or an archive. Never None. Layers may be absent from a layout: they are of need to archives and layouts alone.",
        "files": "depset of File. All that belongs to it, `path` too; never None.",
        "name": "string. Which of its images is meant: a name with its tag, or a digest; empty if it has one only.",
        "layer_count": "int. How many layers the image has, or None where that is not known.",
        "store_paths": "tuple of structs with `path` and `nar_hash` (`sha256:<64 hex>`): the store paths that are known to be in it whole, as the history of an image that strata made tells; may be empty.",
    },
)
