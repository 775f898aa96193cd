"The repository that holds an image of a registry as an OCI image layout, with the layers or without them."

load("@bazel_tools//tools/build_defs/repo:utils.bzl", "get_auth")
load(":registry_auth.bzl", "credentials_of", "registry_host", "token_request")

_INDEX_TYPES = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
]
_MANIFEST_TYPES = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
]

# tool/imagefile, AnnotationSource: where what the layout lacks is.
_ANNOTATION_SOURCE = "io.github.rules-strata.source"

def _pull_repository_impl(rctx):
    access = _log_in(rctx)
    descriptor, manifest = _manifest(rctx, access, rctx.attr.digest)
    if rctx.attr.platform and descriptor["mediaType"] in _INDEX_TYPES:
        entry, error = choose_platform(manifest, rctx.attr.platform)
        if error:
            fail("strata.pull: %s: %s" % (rctx.attr.apparent_name, error))
        rctx.delete(_blob(rctx.attr.digest))
        descriptor, manifest = _manifest(rctx, access, entry["digest"])
        descriptor["platform"] = entry["platform"]
    if descriptor["mediaType"] in _INDEX_TYPES:
        fail("strata.pull: %s: %s is an index of several images; say which by `platform`, as \"linux/amd64\"" % (rctx.attr.apparent_name, rctx.attr.digest))
    blobs = [manifest["config"]] + ([] if rctx.attr.shallow else manifest["layers"])
    for digest in {blob["digest"]: None for blob in blobs}:
        _download(rctx, access, "blobs", digest)
    descriptor["annotations"] = {
        _ANNOTATION_SOURCE: "%s/%s@%s" % (rctx.attr.registry, rctx.attr.repository, descriptor["digest"]),
    }
    rctx.file("layout/oci-layout", '{"imageLayoutVersion":"1.0.0"}', executable = False)
    rctx.file("layout/index.json", json.encode({
        "manifests": [descriptor],
        "mediaType": _INDEX_TYPES[0],
        "schemaVersion": 2,
    }), executable = False)
    rctx.file("BUILD.bazel", """package(default_visibility = ["//visibility:public"])

filegroup(
    name = "{name}",
    srcs = glob(["layout/**"]),
)
""".format(name = rctx.attr.apparent_name), executable = False)

def _blob(digest):
    return "layout/blobs/sha256/" + digest.removeprefix("sha256:")

def _url(rctx, kind, digest):
    return "%s://%s/v2/%s/%s/%s" % (
        "http" if rctx.attr.plain_http else "https",
        registry_host(rctx.attr.registry),
        rctx.attr.repository,
        kind,
        digest,
    )

def _log_in(rctx):
    """Finds out how the registry wants to be asked.

    Args:
      rctx: repository context.

    Returns:
      string, the value of the header Authorization; None if there are no credentials for it. (Bazel's own, from a
      credential helper or the netrc, come on top.)
    """
    basic = _docker_auth(rctx)
    request = token_request(rctx.attr.registry, rctx.attr.repository, rctx.attr.token_url)
    if not request:
        return basic
    rctx.download(
        url = [request],
        # Not `headers`: those would follow a redirect to another host.
        auth = {request: _pattern(basic)} if basic else get_auth(rctx, [request]),
        output = ".token",
    )
    answer = json.decode(rctx.read(".token", watch = "no"))
    rctx.delete(".token")
    token = answer.get("token") or answer.get("access_token")
    if not token:
        fail("strata.pull: %s: the token server of %s answers without a token" % (rctx.attr.apparent_name, rctx.attr.registry))
    return "Bearer " + token

def _pattern(authorization):
    return {
        "password": authorization,
        "pattern": "<password>",
        "type": "pattern",
    }

def _docker_auth(rctx):
    "What docker's config.json, or the file that $REGISTRY_AUTH_FILE names, has for the registry."
    files = []
    if rctx.getenv("REGISTRY_AUTH_FILE"):
        files.append(rctx.getenv("REGISTRY_AUTH_FILE"))
    if rctx.getenv("DOCKER_CONFIG"):
        files.append(rctx.getenv("DOCKER_CONFIG") + "/config.json")
    elif rctx.getenv("HOME"):
        files.append(rctx.getenv("HOME") + "/.docker/config.json")
    for name in files:
        path = rctx.path(name)
        if path.exists:
            auth = credentials_of(json.decode(rctx.read(path, watch = "no")), rctx.attr.registry)
            if auth:
                return auth
    return None

def _download(rctx, access, kind, digest, accept = None):
    url = _url(rctx, kind, digest)
    result = rctx.download(
        url = [url],
        auth = {url: _pattern(access)} if access else get_auth(rctx, [url]),
        output = _blob(digest),
        sha256 = digest.removeprefix("sha256:"),
        headers = {"Accept": accept} if accept else {},
        allow_fail = True,
    )
    if not result.success:
        fail("strata.pull: %s: %s could not be fetched from %s/%s: %s" % (
            rctx.attr.apparent_name,
            digest,
            rctx.attr.registry,
            rctx.attr.repository,
            getattr(result, "error", "see above"),
        ))

def _manifest(rctx, access, digest):
    "Returns the descriptor of a manifest, and the manifest."
    _download(rctx, access, "manifests", digest, accept = _INDEX_TYPES + _MANIFEST_TYPES)
    text = rctx.read(_blob(digest), watch = "no")
    manifest = json.decode(text)
    media_type = manifest.get("mediaType") or (_INDEX_TYPES[0] if "manifests" in manifest else _MANIFEST_TYPES[0])
    if media_type not in _INDEX_TYPES + _MANIFEST_TYPES:
        fail("strata.pull: %s: %s has the media type %s, want that of an image or an index" % (rctx.attr.apparent_name, digest, media_type))
    return {
        "digest": digest,
        "mediaType": media_type,
        "size": len(text),  # Bazel reads files byte by byte.
    }, manifest

def choose_platform(index, platform):
    """Finds the image of an index for a platform.

    Args:
      index: dict, the decoded index.
      platform: string, "OS/ARCHITECTURE" or "OS/ARCHITECTURE/VARIANT".

    Returns:
      The index's entry and None, or None and an error.
    """
    os, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    known = []
    for entry in index["manifests"]:
        p = entry.get("platform")
        if not p:
            continue
        has = p.get("variant", "")
        usual = {"arm": "v7", "arm64": "v8"}.get(architecture, "")
        if p["os"] == os and p["architecture"] == architecture and (not variant or (has or usual) == variant):
            return entry, None
        known.append("/".join([p["os"], p["architecture"]] + ([has] if has else [])))
    return None, "it has no image for %s; there are %s" % (platform, ", ".join(known))

pull_repository = repository_rule(
    implementation = _pull_repository_impl,
    doc = "One image of a registry, pinned by its digest.",
    attrs = {
        "apparent_name": attr.string(mandatory = True, doc = "The repository's name for its users."),
        "digest": attr.string(mandatory = True, doc = "The digest of the image or the index, `sha256:<64 hex>`."),
        "plain_http": attr.bool(doc = "Whether the registry is asked by plain HTTP."),
        "platform": attr.string(doc = "The platform of the image in an index."),
        "registry": attr.string(mandatory = True, doc = "The registry's host, with a port if need be."),
        "repository": attr.string(mandatory = True, doc = "The repository in the registry."),
        "shallow": attr.bool(default = True, doc = "Whether the layers stay where they are."),
        "token_url": attr.string(doc = "The token server, with its service."),
    },
)
