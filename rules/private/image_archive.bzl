"The rule image_archive."

load(":image_actions.bzl", "ARCHIVE_EXTENSIONS", "IMAGE_TOOLCHAIN_TYPE", "archive_action", "nixery_action")
load(":providers/image_index_info.bzl", "ImageIndexInfo")
load(":providers/image_info.bzl", "ImageInfo")

_NIXERY = "nixery"

def _image_archive_impl(ctx):
    info = ctx.attr.image[ImageInfo] if ImageInfo in ctx.attr.image else ctx.attr.image[ImageIndexInfo]
    if ctx.attr.legacy and ctx.attr.format != "docker-archive":
        fail("legacy: goes with format = \"docker-archive\" alone: who reads it takes every folder of the archive for a layer")
    if ctx.attr.format == _NIXERY:
        if ImageInfo not in ctx.attr.image:
            fail("image: %s is an index; Nixery's output is of a single image" % ctx.attr.image.label)
        if ctx.attr.compression != "none":
            fail("compression: %r: Nixery's output is a directory" % ctx.attr.compression)
        output = nixery_action(ctx, ctx.label.name + ".nixery", info)
    else:
        output = archive_action(
            ctx,
            ctx.label.name,
            info,
            format = ctx.attr.format,
            legacy = ctx.attr.legacy,
            compression = ctx.attr.compression,
        )
    return [DefaultInfo(files = depset([output]))]

image_archive = rule(
    implementation = _image_archive_impl,
    doc = """Writes an image, or an index with its images, in another form than the archive that they write themselves.

```starlark
image_archive(
    name = "web_for_old_docker",
    compression = "gzip",
    format = "docker-archive",
    image = ":image",
)
```

| `format` | file | |
|---|---|---|
| `archive` | `NAME.tar` | docker archive and OCI layout in one: what `image` writes. Of use here to compress it |
| `docker-archive` | `NAME.tar` | what `docker save` wrote up to version 24: layers as plain tars, so that docker 20.10 loads images with zstd layers too |
| `oci-archive` | `NAME.tar` | an OCI layout in a tar, and nothing else |
| `nixery` | `NAME.nixery` | a directory: `manifest-output.json` with `manifest` and `layerLocations`, as Nixery's image builder writes it, and the blobs, as links. The image has `media_types = "docker"` |

The image's names (`repo_tags`), its config and its digest are the same in all of them. A docker archive holds no manifest, so the digest
is that of the image's ID there.
""",
    attrs = {
        "image": attr.label(
            mandatory = True,
            providers = [
                [ImageInfo],
                [ImageIndexInfo],
            ],
            doc = "The `image` or `image_index`.",
        ),
        "format": attr.string(
            default = "archive",
            values = [
                "archive",
                "docker-archive",
                "oci-archive",
                _NIXERY,
            ],
            doc = "The form, from the table above.",
        ),
        "legacy": attr.bool(
            doc = "Adds to a `docker-archive` what docker before 1.10 reads, and tools that still look for it: `repositories`, and for each layer a folder with `VERSION`, `json` (with parent and checksum) and `layer.tar`.",
        ),
        "compression": attr.string(
            default = "none",
            values = sorted(ARCHIVE_EXTENSIONS),
            doc = "How the archive itself is compressed, `NAME.tar.gz` or `NAME.tar.zst`. That pays for a `docker-archive`; in the other formats the layers are compressed already.",
        ),
    },
    toolchains = [IMAGE_TOOLCHAIN_TYPE],
)
