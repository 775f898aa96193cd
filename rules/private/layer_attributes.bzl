"The attributes that all rules have which make a layer of files."

load("@bazel_skylib//rules:common_settings.bzl", "BuildSettingInfo")
load(":layer_action.bzl", "COMPRESSIONS")

LAYER_ATTRIBUTES = {
    "compression": attr.string(
        values = [""] + COMPRESSIONS,
        doc = "How the blob is compressed: `gzip`, `zstd` or `none`. By default as the flag `//:compression` says, for all layers alike.",
    ),
    "level": attr.string(
        doc = "How hard the blob is compressed: `fastest`, `default`, `best` or a number (1 to 9 for gzip, 1 to 22 for zstd). By default `default`.",
    ),
    "mtime": attr.int(
        default = 1,
        doc = "The time of all entries, in seconds since 1970. By default 1, as in a Nix store.",
    ),
    "mtree": attr.bool(
        doc = "Whether the action writes a listing of the layer too (output group `mtree`), for reviews and tests.",
    ),
    "_compression": attr.label(
        default = "//:compression",
        providers = [BuildSettingInfo],
    ),
}

def layer_compression(ctx):
    """How the blob is compressed.

    Args:
      ctx: context of a rule that has LAYER_ATTRIBUTES.

    Returns:
      string, one of COMPRESSIONS.
    """
    return ctx.attr.compression or ctx.attr._compression[BuildSettingInfo].value

def layer_arguments(ctx):
    """What LAYER_ATTRIBUTES say to the tool, compression and listing aside.

    Args:
      ctx: context of a rule that has LAYER_ATTRIBUTES.

    Returns:
      list of strings. What is left as it is by default gives no argument.
    """
    if ctx.attr.mtime < 0:
        fail("mtime: %d: want seconds since 1970" % ctx.attr.mtime)
    arguments = []
    if ctx.attr.level:
        arguments.append("--level=" + ctx.attr.level)
    if ctx.attr.mtime != 1:
        arguments.append("--mtime=%d" % ctx.attr.mtime)
    return arguments
