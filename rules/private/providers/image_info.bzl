"ImageInfo: one image without its blobs."

ImageInfo = provider(
    doc = "One container image, as `image` makes it. All files but the layers' blobs are a few kB.",
    fields = {
        "manifest": "File. OCI image manifest, JSON; never None. Its SHA-256 is the image's digest.",
        "config": "File. OCI image config, JSON; never None.",
        "descriptor": "File. OCI descriptor of the manifest, JSON: mediaType, digest, size, platform; what an index holds of the image; never None.",
        "digest": "File. The image's digest as text: `sha256:<64 hex>` and a newline; never None.",
        "layers": "tuple of LayerInfo. The layers, lowest first; the manifest's order.",
        "system": "string. The system that the image is for, as `x86_64-linux`; never None.",
        "repo_tags": "tuple of strings. The names that archive and layout give the image, as `web:dev`; may be empty.",
    },
)
