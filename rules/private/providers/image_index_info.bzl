"ImageIndexInfo: images of one program for several platforms."

ImageIndexInfo = provider(
    doc = "An index over container images, as `image_index` makes it. All files but the layers' blobs are a few kB.",
    fields = {
        "index": "File. OCI image index (docker's manifest list if the images have docker's media types), JSON; never None. Its SHA-256 is the index's digest.",
        "descriptor": "File. OCI descriptor of the index, JSON: mediaType, digest, size; never None.",
        "digest": "File. The index's digest as text: `sha256:<64 hex>` and a newline; never None.",
        "images": "tuple of ImageInfo. The images, each for another platform, in the order in which the target names them; at least one. (The index has them sorted by platform.)",
        "repo_tags": "tuple of strings. The names that archive and layout give the index, as `web:dev`; may be empty.",
    },
)
