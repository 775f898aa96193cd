"""Values of the build's status in attributes: `{STABLE_GIT_COMMIT}`.

tool/image (stamp.go) puts them in; here it is only found out whether there are any, since an action that reads the
build's status runs again when that changes.
"""

load("@bazel_skylib//rules:common_settings.bzl", "BuildSettingInfo")
load(":store_names.bzl", "consists_of")

_KEY_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

# Those of Bazel's own keys that are in the stable status, where all others begin with STABLE_.
_STABLE_KEYS = [
    "BUILD_EMBED_LABEL",
    "BUILD_HOST",
    "BUILD_USER",
]

def stamp_keys(texts):
    """Finds the keys whose values texts ask for.

    Args:
      texts: list of strings.

    Returns:
      list of strings, each once.
    """
    keys = {}
    for text in texts:
        pieces = text.split("{")
        for i, piece in enumerate(pieces[1:]):
            key, brace, _ = piece.partition("}")
            if brace and key and consists_of(key, _KEY_CHARACTERS) and not key[0].isdigit() and not pieces[i].endswith("$"):
                keys[key] = True
    return keys.keys()

def stamping(ctx, attribute, texts):
    """Says how the build's status gets into texts, and fails where a value will be missing.

    Args:
      ctx: the rule's context; the rule has STAMP_ATTRS.
      attribute: string, what the texts are of; for messages.
      texts: list of strings.

    Returns:
      struct with `live` (bool: a key in braces stands for its value) and `files` (list of File: the status that has the values).
    """
    keys = stamp_keys(texts) if ctx.attr.stamp != 0 else []
    if not keys:
        return struct(files = [], live = False)
    if ctx.attr.stamp == 1 or ctx.attr._stamp[BuildSettingInfo].value:
        files = [ctx.info_file]
        if [k for k in keys if not k.startswith("STABLE_") and k not in _STABLE_KEYS and k not in ctx.attr.stamp_defaults]:
            files.append(ctx.version_file)
        return struct(files = files, live = True)
    for key in keys:
        if key not in ctx.attr.stamp_defaults:
            fail("%s: {%s} has no value, since the build is not stamped: build with --stamp, set stamp = 1, or give it one in stamp_defaults; stamp = 0 makes it plain text" % (attribute, key))
    return struct(files = [], live = True)

STAMP_ATTRS = {
    "stamp": attr.int(
        default = -1,
        values = [-1, 0, 1],
        doc = "Whether `{KEY}` in `labels`, `annotations`, `author`, `comment`, `created` and `repo_tags` is the value that the build's status has for KEY (`--workspace_status_command`): 1 always, -1 if the build has `--stamp`, else with `stamp_defaults`, 0 never: it is text then. Only an image that has such a key is built again when the status changes.",
    ),
    "stamp_defaults": attr.string_dict(
        doc = "Values for keys that the build's status hasn't, and for all where the build is not stamped: `{\"STABLE_GIT_COMMIT\": \"unknown\"}`.",
    ),
    "_stamp": attr.label(
        default = "//rules/private:stamp",
        providers = [BuildSettingInfo],
    ),
}

def _stamp_flag_impl(ctx):
    return BuildSettingInfo(value = ctx.attr.stamped)

stamp_flag = rule(
    implementation = _stamp_flag_impl,
    doc = "Whether the build has --stamp.",
    attrs = {
        "stamped": attr.bool(mandatory = True),
    },
)
