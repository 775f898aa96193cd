"""What store paths, hashes and sizes look like, so that a mistake is found where it was made.

What comes out of a lock goes into BUILD files and command lines: nothing is taken that could mean something there.
The Go tools check all of it again, and more strictly.
"""

load(":systems.bzl", "SYSTEMS")

_HASH_CHARACTERS = "0123456789abcdfghijklmnpqrsvwxyz"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NAME_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._?="
_DIRECTORY_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._=/"
_ROOT_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-"

# RFC 3986: reserved, unreserved, and the percent sign.
_URL_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~:/?#[]@!$&'()*+,;=%"
_HEX_DIGITS = "0123456789abcdef"
_HASH_LENGTH = 32
_MAX_ROOT_LENGTH = 128

# How a NAR may be compressed, by narinfo's names. tool/narfile has the decoders.
NAR_COMPRESSIONS = [
    "br",
    "bzip2",
    "gzip",
    "lz4",
    "lzip",
    "none",
    "xz",
    "zstd",
]

# What a root can't be called, since the package that has the roots has these, or Bazel takes them for patterns.
_NO_ROOTS = [
    "BUILD",
    "BUILD.bazel",
    "MODULE.bazel",
    "REPO.bazel",
    "WORKSPACE",
    "WORKSPACE.bazel",
    "WORKSPACE.bzlmod",
    "all",
    "all-targets",
    "layer",
    "nars.bzl",
    "path",
]

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
    if not consists_of(directory, _DIRECTORY_CHARACTERS):
        return "%r is no store path: want a directory of letters, digits and + - . _ =" % path
    return base_name_error(base)

def root_name_error(name):
    """Says what is wrong with the name of a lock's root.

    Args:
      name: string, as `web`.

    Returns:
      string, or None if nothing is.
    """
    if not name or len(name) > _MAX_ROOT_LENGTH or name[0] in "._-" or not consists_of(name, _ROOT_CHARACTERS):
        return "%r: want a name of at most %d letters, digits and . _ -, the first a letter or a digit" % (name, _MAX_ROOT_LENGTH)
    if name in _NO_ROOTS or name in SYSTEMS:
        return "%r: a lock's repository has something else of that name; choose another name for the root" % name
    return None

def nar_url_error(url):
    """Says what is wrong with the URL of a NAR or of a cache.

    Args:
      url: string, as `https://cache.nixos.org/nar/1w1f....nar.xz`, or `file:` with a path.

    Returns:
      string, or None if nothing is.
    """
    authority = url.partition("//")[2].partition("/")[0].partition("?")[0].partition("#")[0]
    if "@" in authority:
        # Neither is shown: what is before the sign may be a password.
        return "a URL with user or password for %s; credentials belong into ~/.netrc or a credential helper" % authority.rpartition("@")[2]
    scheme, _, rest = url.partition(":")
    if scheme not in ["file", "http", "https"] or not rest or (scheme != "file" and not rest.startswith("//")):
        return "%r: want a URL that begins with https://, http:// or file:" % url
    if not consists_of(url, _URL_CHARACTERS):
        return "%r: want a URL in which all but ASCII letters, digits and -._~:/?#[]@!$&'()*+,;= is percent-encoded" % url
    return None

def nar_compression_error(compression):
    """Says what is wrong with the name of a NAR's compression.

    Args:
      compression: string, as `xz`.

    Returns:
      string, or None if nothing is.
    """
    if compression not in NAR_COMPRESSIONS:
        return "%r is not known; known are %s" % (compression, ", ".join(NAR_COMPRESSIONS))
    return None

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
