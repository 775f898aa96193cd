"""What is wrong with an image's settings, found before any layer is made.

tool/image (settings.go, reference.go) has the same checks and a few more, and says the same; rules/tests/settings_cases.bzl
holds both to it. Faults are strings without the setting's name and value, None if there is none.
"""

load(":stamp.bzl", "stamp_keys")
load(":store_names.bzl", "consists_of")
load(":systems.bzl", "SYSTEMS")

_DIGITS = "0123456789"
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# The greatest uid and gid that runc takes.
_MAX_ID = 2147483647

# Linux's, as signal(7) lists them.
_SIGNALS = [
    "ABRT",
    "ALRM",
    "BUS",
    "CHLD",
    "CLD",
    "CONT",
    "FPE",
    "HUP",
    "ILL",
    "INT",
    "IO",
    "IOT",
    "KILL",
    "PIPE",
    "POLL",
    "PROF",
    "PWR",
    "QUIT",
    "RTMAX",
    "RTMIN",
    "SEGV",
    "STKFLT",
    "STOP",
    "SYS",
    "TERM",
    "TRAP",
    "TSTP",
    "TTIN",
    "TTOU",
    "URG",
    "USR1",
    "USR2",
    "VTALRM",
    "WINCH",
    "XCPU",
    "XFSZ",
]

# Of a Dockerfile's HEALTHCHECK.
_HEALTHCHECK_OPTIONS = [
    "interval",
    "retries",
    "start-interval",
    "start-period",
    "timeout",
]

# Limits of an image's name.
_MAX_NAME_LENGTH = 255
_MAX_TAG_LENGTH = 128

def check_settings(attr):
    """Fails if the attributes of an image say what no image can have.

    Args:
      attr: ctx.attr of an `image`.
    """
    for name in attr.env:
        _check("env", name, variable_error(name))
    for name in attr.env_prepend:
        _check("env_prepend", name, variable_error(name))
    for name in attr.annotations:
        _check("annotations", name, None if name else "the key is empty")
    if attr.healthcheck or attr.healthcheck_options:
        _check("healthcheck", " ".join(attr.healthcheck), healthcheck_error(attr.healthcheck))
    for name in attr.healthcheck_options:
        _check("healthcheck_options", name, None if name in _HEALTHCHECK_OPTIONS else "want interval, timeout, start-period, start-interval or retries")
    if attr.config_json and attr.config_file:
        fail("config_json: want either this or config_file")
    if attr.base_name and not attr.base:
        fail("base_name: it goes with base")
    if attr.entrypoint and not attr.entrypoint[0]:
        _check("entrypoint", "", "the program's name is empty")
    for name in attr.labels:
        _check("labels", name, None if name else "the key is empty")
    if attr.user:
        _check("user", attr.user, user_error(attr.user))
    if attr.workdir:
        _check("workdir", attr.workdir, directory_error(attr.workdir))
    if attr.stop_signal:
        _check("stop_signal", attr.stop_signal, signal_error(attr.stop_signal))
    if attr.system and attr.system not in SYSTEMS:
        _check("system", attr.system, "no container platform is known for it; want one of " + ", ".join(SYSTEMS))
    ports = {}
    for port in attr.ports:
        _check("ports", port, port_error(port))
        whole = port if "/" in port else port + "/tcp"
        _check("ports", port, whole + " is listed twice" if whole in ports else None)
        ports[whole] = True
    for i, volume in enumerate(attr.volumes):
        _check("volumes", volume, volume_error(volume))
        _check("volumes", volume, "listed twice" if volume in attr.volumes[:i] else None)
    for tag in attr.repo_tags:
        # What the build's status makes of it is known later.
        if attr.stamp == 0 or not stamp_keys([tag]):
            _check("repo_tags", tag, image_name_error(tag))

def _check(attribute, value, error):
    if error:
        fail("%s: %r: %s" % (attribute, value, error))

def variable_error(name):
    """Says what is wrong with the name of a variable in the environment.

    Args:
      name: string.

    Returns:
      string or None.
    """
    if not name or "=" in name:
        return "a variable's name is not empty and has no \"=\""
    return None

def healthcheck_error(words):
    """Says what is wrong with a healthcheck.

    Args:
      words: list of strings, as docker has them.

    Returns:
      string or None.
    """
    first = words[0] if words else ""
    if first == "NONE":
        return "want nothing behind NONE" if len(words) > 1 else None
    if first == "CMD":
        return None if len(words) > 1 and words[1] else "want a program and its arguments behind CMD"
    if first == "CMD-SHELL":
        return None if len(words) == 2 else "want one line of shell behind CMD-SHELL"
    return "want CMD and a program with its arguments, CMD-SHELL and a line of shell, or NONE"

def user_error(user):
    """Says what is wrong with whom a program runs as.

    Args:
      user: string, as `1000:100`.

    Returns:
      string or None.
    """
    for part in user.split(":", 1):
        if not part or part[0] in "-+" or [c for c in part.elems() if c <= " " or c in ":/\177"]:
            return "want USER or USER:GROUP, each a name or a number"
        if consists_of(part, _DIGITS) and (len(part.lstrip("0")) > 10 or int(part) > _MAX_ID):
            return "%s is no user or group ID: want 0 to %d" % (part, _MAX_ID)
    return None

def directory_error(path):
    """Says what is wrong with a directory of an image.

    Args:
      path: string.

    Returns:
      string or None.
    """
    if not path.startswith("/"):
        return "want an absolute path"
    if ".." in path.split("/"):
        return "want a path without \"..\""
    return None

def volume_error(path):
    """Says what is wrong with a volume.

    Args:
      path: string.

    Returns:
      string or None.
    """
    error = directory_error(path)
    if not error and not path.strip("/"):
        return "the root can't be a volume"
    return error

def port_error(port):
    """Says what is wrong with a port.

    Args:
      port: string, as `8080` or `53/udp`.

    Returns:
      string or None.
    """
    number, slash, protocol = port.partition("/")
    if not _is_number(number, 65535):
        return "want PORT or PORT/PROTOCOL with a port from 1 to 65535"
    if slash and protocol not in ["tcp", "udp", "sctp"]:
        return "protocol %r: want tcp, udp or sctp" % protocol
    return None

def signal_error(signal):
    """Says what is wrong with a signal.

    Args:
      signal: string, as `SIGTERM`, `SIGRTMIN+3` or `15`.

    Returns:
      string or None.
    """
    if _is_number(signal, 64):
        return None
    if signal.startswith("SIG"):
        name = signal[len("SIG"):]
        for prefix in ["RTMIN+", "RTMAX-"]:
            if name.startswith(prefix) and _is_number(name[len(prefix):], 30):
                return None
        if name in _SIGNALS:
            return None
    return "want a signal such as SIGTERM, SIGRTMIN+3 or 15"

def image_name_error(name):
    """Says what is wrong with an image's name, so far as the registry in it, if any, is one.

    Args:
      name: string, as `web:dev` or `registry.example.org/team/web:1.0`.

    Returns:
      string or None.
    """
    if not name:
        return "want NAME or NAME:TAG"
    if "@" in name:
        return "a name to give can't have a digest; want NAME or NAME:TAG"
    first, slash, after = name.partition("/")
    registry = slash and (first == "localhost" or "." in first or ":" in first or first.lower() != first)
    path, colon, tag = (after if registry else name).partition(":")
    if colon:
        if not tag:
            return "the tag is empty"
        if len(tag) > _MAX_TAG_LENGTH:
            return "the tag has %d characters, want at most %d" % (len(tag), _MAX_TAG_LENGTH)
        if tag[0] in ".-" or not consists_of(tag, _DIGITS + _LOWER + _UPPER + "._-"):
            return "tag %r: want letters, digits, _, and after the first also . and -" % tag
    for component in path.split("/"):
        error = _component_error(component)
        if error:
            return error
    if len(path) > _MAX_NAME_LENGTH:
        return "the repository's name has %d characters, want at most %d" % (len(path), _MAX_NAME_LENGTH)
    return None

def _component_error(component):
    if not component:
        return "the name has an empty component"
    if component[0] in _UPPER or (consists_of(component, _LOWER + _UPPER + _DIGITS) and component.lower() != component):
        return "component %r of the name: want lower-case letters" % component
    if not consists_of(component, _LOWER + _DIGITS + "._-") or component[0] in "._-":
        return "component %r of the name: want lower-case letters and digits, with a single . or _, a double __ or dashes between them" % component
    separator = ""
    for c in component.elems():
        if c in "._-":
            separator += c
        else:
            if separator not in ["", ".", "_", "__"] and separator.strip("-"):
                return "component %r of the name: %r can't stand between letters; want a single . or _, a double __ or dashes" % (component, separator)
            separator = ""
    if separator:
        return "component %r of the name: it ends in %s" % (component, separator)
    return None

def _is_number(s, greatest):
    "Whether s is a number from 1 on, written without a sign or a zero in front."
    return bool(s) and len(s) <= 10 and consists_of(s, _DIGITS) and s[0] != "0" and int(s) <= greatest
