"Unit tests of registry_auth.bzl and of the choice of a platform."

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//rules/private:pull_repository.bzl", "choose_platform")
load("//rules/private:registry_auth.bzl", "credentials_of", "is_loopback", "pull_error", "registry_host", "token_request")
load(":unit_tests.bzl", "unit_tests")

_DIGEST = "sha256:" + "0123456789abcdef" * 4

def _token_impl(ctx):
    env = unittest.begin(ctx)
    asserts.equals(env, "registry-1.docker.io", registry_host("docker.io"))
    asserts.equals(env, "ghcr.io", registry_host("ghcr.io"))
    for registry in ["docker.io", "index.docker.io"]:
        asserts.equals(
            env,
            "https://auth.docker.io/token?service=registry.docker.io&scope=repository:library/debian:pull",
            token_request(registry, "library/debian", ""),
        )
    asserts.equals(env, "https://europe-docker.pkg.dev/v2/token?service=europe-docker.pkg.dev&scope=repository:a/b:pull", token_request("europe-docker.pkg.dev", "a/b", ""))
    asserts.equals(env, "", token_request("registry.example.org", "a", ""))
    asserts.equals(env, "https://auth.example.org/t?scope=repository:a:pull", token_request("registry.example.org", "a", "https://auth.example.org/t"))
    return unittest.end(env)

def _credentials_impl(ctx):
    env = unittest.begin(ctx)
    config = {"auths": {
        "https://index.docker.io/v1/": {"auth": "ZG9ja2Vy"},
        "registry.example.org": {"auth": "ZXhhbXBsZQ=="},
        "other.example.org": {},
    }}
    asserts.equals(env, "Basic ZG9ja2Vy", credentials_of(config, "docker.io"))
    asserts.equals(env, "Basic ZXhhbXBsZQ==", credentials_of(config, "registry.example.org"))
    asserts.equals(env, None, credentials_of(config, "other.example.org"))
    asserts.equals(env, None, credentials_of(config, "example.org"))
    asserts.equals(env, None, credentials_of({}, "example.org"))
    for registry, want in {
        "127.0.0.1": True,
        "127.0.0.1:5000": True,
        "[::1]:5000": True,
        "localhost": True,
        "localhost.example.org": False,
        "registry.example.org:5000": False,
    }.items():
        asserts.equals(env, want, is_loopback(registry), registry)
    return unittest.end(env)

def _errors_impl(ctx):
    env = unittest.begin(ctx)
    asserts.equals(env, None, pull_error("docker.io", "library/debian", _DIGEST, ""))
    asserts.equals(env, None, pull_error("localhost:5000", "x", _DIGEST, "linux/arm64/v8"))
    for args, want in {
        ("", "x", _DIGEST, ""): "registry: \"\"",
        ("https://a.b", "x", _DIGEST, ""): "registry: \"https://a.b\"",
        ("a.b", "debian:12", _DIGEST, ""): "repository: \"debian:12\"",
        ("a.b", "", _DIGEST, ""): "repository: \"\"",
        ("a.b", "debian", "latest", ""): "digest: \"latest\"",
        ("a.b", "debian", "sha256:12", ""): "digest: \"sha256:12\"",
        ("a.b", "debian", _DIGEST.replace("a", "A"), ""): "digest: ",
        ("a.b", "debian", _DIGEST, "amd64"): "platform: \"amd64\"",
    }.items():
        error = pull_error(*args)
        asserts.true(env, error and error.startswith(want), "%r: want %s, got %s" % (args, want, error))
    return unittest.end(env)

def _platform_impl(ctx):
    env = unittest.begin(ctx)
    index = {"manifests": [
        {"digest": "unknown"},
        {"digest": "amd64", "platform": {"architecture": "amd64", "os": "linux"}},
        {"digest": "v6", "platform": {"architecture": "arm", "os": "linux", "variant": "v6"}},
        {"digest": "v7", "platform": {"architecture": "arm", "os": "linux", "variant": "v7"}},
        {"digest": "arm64", "platform": {"architecture": "arm64", "os": "linux"}},
    ]}
    for platform, want in {
        "linux/amd64": "amd64",
        "linux/arm/v7": "v7",
        "linux/arm64": "arm64",
        "linux/arm64/v8": "arm64",
    }.items():
        entry, error = choose_platform(index, platform)
        asserts.equals(env, (want, None), (entry["digest"], error))
    for platform in ["windows/amd64", "linux/arm64/v9", "linux/s390x"]:
        entry, error = choose_platform(index, platform)
        asserts.equals(env, None, entry)
        asserts.equals(env, "it has no image for %s; there are linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64" % platform, error)
    return unittest.end(env)

_token_test = unittest.make(_token_impl)
_credentials_test = unittest.make(_credentials_impl)
_errors_test = unittest.make(_errors_impl)
_platform_test = unittest.make(_platform_impl)

def registry_auth_test_suite(name):
    unit_tests(name, {
        "credentials": _credentials_test,
        "errors": _errors_test,
        "platform": _platform_test,
        "token": _token_test,
    })
