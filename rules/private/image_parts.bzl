"""The parts file: an image for a program that is run, without an archive of it.

tool/imagefile reads it, and says what is in it.
"""

load(":providers/image_info.bzl", "ImageInfo")

def rlocation(ctx, file):
    """Says where a file is in runfiles.

    Args:
      ctx: rule context.
      file: File.

    Returns:
      string, relative to the folder with the runfiles.
    """
    if file.short_path.startswith("../"):
        return file.short_path[len("../"):]
    return ctx.workspace_name + "/" + file.short_path

def image_parts(ctx, image, tags):
    """Declares the file that names an image's parts in runfiles.

    Args:
      ctx: rule context.
      image: Target with ImageInfo.
      tags: list of strings, the image's names; empty for those that it has itself.

    Returns:
      File, and the list of Files that must be beside it in the runfiles.
    """
    info = image[ImageInfo]
    parts = ctx.actions.declare_file(ctx.label.name + ".parts.json")

    # Names are relative to the file's own folder.
    up = "../" * rlocation(ctx, parts).count("/")
    ctx.actions.write(parts, json.encode_indent({
        "config": up + rlocation(ctx, info.config),
        "layers": [
            {
                "blob": up + rlocation(ctx, layer.blob),
                "digestFile": up + rlocation(ctx, layer.digest_file),
            }
            for layer in info.layers
        ],
        "manifest": up + rlocation(ctx, info.manifest),
        "tags": tags or list(info.repo_tags),
    }) + "\n")
    return parts, [info.config, info.manifest] + [f for layer in info.layers for f in [layer.digest_file, layer.blob]]
