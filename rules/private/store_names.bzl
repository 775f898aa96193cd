"""What store paths, hashes and sizes look like, so that a mistake is found where it was made.

The Go tools check all of it again, and more strictly.
"""

_HASH_CHARACTERS = "0123456789abcdfghijklmnpqrsvwxyz"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NAME_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._?="
_HEX_DIGITS = "0123456789abcdef"
_HASH_LENGTH = 32

def consists_of(s, characters):
    """Whether a string has no character but some.

    Args:
      s: string.
      characters: string of the characters allowed.

    Returns:
      bool. True for the empty string.
    """
    return not s.strip(characters)

def base_name_error(base):
    """Says what is wrong with a store path's base name.

    Args:
      base: string, as `xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15`.

    Returns:
      string, or None if nothing is.
    """
    name = base[_HASH_LENGTH + 1:]
    if not name or base[_HASH_LENGTH] != "-" or not consists_of(base[:_HASH_LENGTH], _HASH_CHARACTERS):
        return "%r is no base name of a store path: want 32 characters of hash, a dash and a name" % base
    if not consists_of(name, _NAME_CHARACTERS) or name in [".", ".."] or name.startswith(".-") or name.startswith("..-"):
        return "%r is no base name of a store path: %r is not allowed as a name" % (base, name)
    return None

def store_path_error(path):
    """Says what is wrong with a store path.

    Args:
      path: string, as `/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15`.

    Returns:
      string, or None if nothing is.
    """
    directory, _, base = path.rpartition("/")
    components = directory.split("/")
    if len(components) < 2 or components[0] or [c for c in components[1:] if c in ["", ".", ".."]]:
        return "%r is no store path: want /nix/store/<hash>-<name>" % path
    return base_name_error(base)

def sha256_error(s):
    """Says what is wrong with a hash in the form that locks and providers have.

    Args:
      s: string, as `sha256:` and 64 hex digits.

    Returns:
      string, or None if nothing is.
    """
    if len(s) != len("sha256:") + 64 or not s.startswith("sha256:") or not consists_of(s[len("sha256:"):], _HEX_DIGITS):
        return "%r: want sha256: and 64 lower-case hex digits" % s
    return None

def nar_size_error(s):
    """Says what is wrong with a size as a string.

    Args:
      s: string of decimal digits.

    Returns:
      string, or None if nothing is.
    """
    if not s or not s.isdigit() or len(s) > 19 or (s[0] == "0" and s != "0"):
        return "%r: want a number of bytes in decimal digits" % s
    return None

def repository_name_error(name):
    """Says what is wrong with the name of a lock's repository.

    Args:
      name: string, as `store`.

    Returns:
      string, or None if nothing is.
    """
    if not name or name[0] not in _LETTERS or not consists_of(name, _LETTERS + "0123456789_"):
        return "%r: want a letter followed by letters, digits and _" % name
    if name.startswith("strata_nar_"):
        return "%r: strata_nar_... is kept for NARs" % name
    return None
