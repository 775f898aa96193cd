"ImageInfo: one image without its blobs."

ImageInfo = provider(
    doc = "One container image, as `image` makes it. All files but the layers' blobs are a few kB.",
    fields = {
        "manifest": "File. OCI image manifest, JSON; never None. Its SHA-256 is the image's digest.",
        "config": "File. OCI image config, JSON; never None.",
        "descriptor": "File. OCI descriptor of the manifest, JSON: mediaType, digest, size, platform; what an index holds of the image; never None.",
        "digest": "File. The image's digest as text: `sha256:<64 hex>` and a newline; never None.",
        "layers": "tuple of LayerInfo. The layers that targets make, lowest first; the manifest's order. Where `base_image` is not None, its layers lie below them, and one of which it has all store paths is not in the manifest.",
        "base_image": "BaseImageInfo or None. What is at the very bottom, if it comes out of a file or a registry. Who reads the layers' blobs (archive, layout, push) finds its there.",
        "layer_count": "int or None. How many layers the manifest has at most; None if that is not known before the image is built.",
        "system": "string. The system that the image is for, as `x86_64-linux`; never None.",
        "repo_tags": "tuple of strings. The names that archive and layout give the image, as `web:dev`, where they are known before the build; may be empty.",
        "tags_file": "File. The same, one a line, with those out of files and the build's status, or else the default name; may be empty, never None.",
        "dynamic_tags": "bool. Whether only `tags_file` has the names.",
    },
)
