"""How registries want to be asked, as far as it can be known without asking.

A registry says it in a header of its answer (WWW-Authenticate), which repository rules don't get to see.
"""

# Registry -> token server with its service, as they say it themselves (WWW-Authenticate of /v2/).
_TOKEN_SERVERS = {
    "docker.io": "https://auth.docker.io/token?service=registry.docker.io",
    "ghcr.io": "https://ghcr.io/token?service=ghcr.io",
    "gcr.io": "https://gcr.io/v2/token?service=gcr.io",
    "public.ecr.aws": "https://public.ecr.aws/token/?service=public.ecr.aws",
    "quay.io": "https://quay.io/v2/auth?service=quay.io",
    "registry.gitlab.com": "https://gitlab.com/jwt/auth?service=container_registry",
    "cgr.dev": "https://cgr.dev/token?service=cgr.dev",
}

def registry_host(registry):
    """Says which host serves a registry.

    Args:
      registry: string, as `docker.io`.

    Returns:
      string.
    """
    return "registry-1.docker.io" if registry in ["docker.io", "index.docker.io"] else registry

def token_request(registry, repository, token_url):
    """Says where a token for reading from a repository is to be had.

    Args:
      registry: string.
      repository: string.
      token_url: string, the token server with its service; empty for one that is known.

    Returns:
      string, a URL; empty if none is needed, as far as is known.
    """
    server = token_url or _TOKEN_SERVERS.get("docker.io" if registry == "index.docker.io" else registry, "")
    if not server and registry.endswith(".pkg.dev"):
        server = "https://%s/v2/token?service=%s" % (registry, registry)
    if not server:
        return ""
    return "%s%sscope=repository:%s:pull" % (server, "&" if "?" in server else "?", repository)

def credentials_of(config, registry):
    """Finds a registry's entry in docker's config.json.

    Args:
      config: dict, the decoded file.
      registry: string.

    Returns:
      string, the value of a header Authorization, or None.
    """
    keys = [registry, "https://" + registry]
    if registry in ["docker.io", "index.docker.io"]:
        keys = ["https://index.docker.io/v1/", "docker.io", "index.docker.io"]
    for key in keys:
        auth = config.get("auths", {}).get(key, {}).get("auth")
        if auth:
            return "Basic " + auth
    return None

def is_loopback(registry):
    """Says whether a registry is on this machine, so that plain HTTP goes over no network.

    Args:
      registry: string, a host with or without a port.

    Returns:
      bool.
    """
    host = registry.rpartition(":")[0] or registry
    return host in ["localhost", "127.0.0.1", "[::1]"]

def pull_error(registry, repository, digest, platform):
    """Says what is wrong with what strata.pull is told.

    Args:
      registry: string.
      repository: string.
      digest: string.
      platform: string.

    Returns:
      string, None if nothing is.
    """
    if not registry or "/" in registry:
        return "registry: %r: want a host, with a port if need be" % registry
    if not repository or ":" in repository or "@" in repository or repository.startswith("/") or repository.endswith("/"):
        return "repository: %r: want its name in the registry, as \"library/debian\", without a tag" % repository
    hex = digest.removeprefix("sha256:")
    if hex == digest or len(hex) != 64 or [c for c in hex.elems() if c not in "0123456789abcdef"]:
        return "digest: %r: want sha256: and 64 hexadecimal digits; `strata pull --resolve %s/%s:TAG` prints that of a tag" % (digest, registry, repository)
    if platform and platform.count("/") not in [1, 2]:
        return "platform: %r: want OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, as \"linux/amd64\"" % platform
    return None
