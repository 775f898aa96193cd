"""What paths, modes and owners in an image look like, so that a mistake is found where it was made.

tool/filelayer has the same checks and a few more.
"""

load(":store_names.bzl", "consists_of")

_MAX_ID = 4294967295

def path_error(path, root = False):
    """Says what is wrong with a path in an image.

    Args:
      path: string, as `etc/motd`.
      root: bool. Whether it may be the root itself.

    Returns:
      string, or None if nothing is.
    """
    p = path.removeprefix("/").removesuffix("/")
    if p in ["", "."]:
        return None if root else "want a path in the image, as \"etc/motd\""
    for component in p.split("/"):
        if component in ["", ".", ".."]:
            return "want a path in the image without double slashes, \".\" and \"..\""
        if len(component) > 255:
            return "want components of at most 255 bytes"
    return None

def mode_error(mode):
    """Says what is wrong with permissions.

    Args:
      mode: string, as `0755`.

    Returns:
      string, or None if nothing is.
    """
    if not mode or not consists_of(mode, "01234567") or len(mode.lstrip("0")) > 4:
        return "want octal digits, at most 7777"
    return None

def owner_error(owner):
    """Says what is wrong with an owner.

    Args:
      owner: string, as `1000:100` or `1000:100 me:users`.

    Returns:
      string, or None if nothing is.
    """
    ids, _, names = owner.partition(" ")
    parts = ids.split(":")
    if len(parts) != 2 or [p for p in parts if not p or not consists_of(p, "0123456789") or len(p) > 10 or int(p) > _MAX_ID]:
        return "want UID:GID, two numbers below 2^32, or UID:GID USER:GROUP"
    if " " in owner and len(names.split(":")) != 2:
        return "want USER:GROUP behind the numbers"
    return None
