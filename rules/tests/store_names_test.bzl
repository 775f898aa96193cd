"Unit tests of store_names.bzl."

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load(
    "//rules/private:store_names.bzl",
    "nar_compression_error",
    "nar_size_error",
    "nar_url_error",
    "repository_name_error",
    "root_name_error",
    "sha256_error",
    "store_path_error",
)
load(":unit_tests.bzl", "unit_tests")

_HASH = "xznc9l6ppin9j93x7xsvaba3qkn46hwr"

def _store_path_impl(ctx):
    env = unittest.begin(ctx)
    for path in [
        "/nix/store/%s-bash-5.2.15" % _HASH,
        "/gnu/store/%s-a+b?c=d_E.f" % _HASH,
        "/a/%s-x" % _HASH,
        "/home/me/my_store.2/a+b=c/nix-2/%s-x" % _HASH,
    ]:
        asserts.equals(env, None, store_path_error(path))
    for path in [
        "",
        "/",
        _HASH + "-bash",
        "nix/store/%s-bash" % _HASH,
        "//%s-bash" % _HASH,
        "/nix//%s-bash" % _HASH,
        "/nix/../%s-bash" % _HASH,
        "/nix/store/%s" % _HASH,
        "/nix/store/%s-" % _HASH,
        "/nix/store/%s_bash" % _HASH,
        "/nix/store/e%s-bash" % _HASH[1:],  # e is no nixbase32
        "/nix/store/%s-bash" % _HASH[1:],
        "/nix/store/%s-.." % _HASH,
        "/nix/store/%s-.-a" % _HASH,
        "/nix/store/%s-a b" % _HASH,
        "/nix/store/%s-a:b" % _HASH,
        "/nix/store/%s-bash/bin/sh" % _HASH,
        # What a directory has must mean nothing in a BUILD file, a label, a param file or a format.
        "/nix/st\"ore/%s-bash" % _HASH,
        "/nix/st'ore/%s-bash" % _HASH,
        "/nix/store\"])\nload(\"//evil:x.bzl\", \"x\")\n#/%s-bash" % _HASH,
        "/nix/st\nore/%s-bash" % _HASH,
        "/nix/st\tore/%s-bash" % _HASH,
        "/nix/st\\ore/%s-bash" % _HASH,
        "/nix/%%s/%s-bash" % _HASH,
        "/nix/%%d\"/%s-bash" % _HASH,
        "/nix/{path}/%s-bash" % _HASH,
        "/nix/my store/%s-bash" % _HASH,
        "/nix/store:/%s-bash" % _HASH,
        "/nix/@store/%s-bash" % _HASH,
        "/nix/störe/%s-bash" % _HASH,
        "/nix/store/%s-ba\"sh" % _HASH,
        "/nix/store/%s-ba\nsh" % _HASH,
        "/nix/store/%s-ba\\sh" % _HASH,
        "/nix/store/%s-ba%%sh" % _HASH,
    ]:
        asserts.true(env, store_path_error(path), "%r should be refused" % path)
    return unittest.end(env)

_store_path_test = unittest.make(_store_path_impl)

def _sha256_impl(ctx):
    env = unittest.begin(ctx)
    asserts.equals(env, None, sha256_error("sha256:" + "0123456789abcdef" * 4))
    for s in [
        "",
        "0123456789abcdef" * 4,
        "sha256:" + "0123456789ABCDEF" * 4,
        "sha256:" + "0123456789abcdef" * 4 + "0",
        "sha256:" + "0123456789abcdeg" * 4,
        "sha512:" + "0123456789abcdef" * 4,
        "sha256:15nnwx3vh11348pyiyfjhkwq656skqdgbfg0yfnqfjznv7i3l7ar",
        "sha256:\"" + "0" * 63,
        "sha256:\n" + "0" * 63,
        "sha256:%s" + "0" * 62,
    ]:
        asserts.true(env, sha256_error(s), "%r should be refused" % s)
    return unittest.end(env)

_sha256_test = unittest.make(_sha256_impl)

def _nar_size_impl(ctx):
    env = unittest.begin(ctx)
    for s in ["0", "96", "9223372036854775807"]:
        asserts.equals(env, None, nar_size_error(s))
    for s in ["", "-1", "1.0", "1e3", "0x10", "007", " 1", "1" * 20]:
        asserts.true(env, nar_size_error(s), "%r should be refused" % s)
    return unittest.end(env)

_nar_size_test = unittest.make(_nar_size_impl)

def _repository_name_impl(ctx):
    env = unittest.begin(ctx)
    for s in ["store", "s", "web_2"]:
        asserts.equals(env, None, repository_name_error(s))
    for s in ["", "2web", "_store", "a-b", "a.b", "a/b", "strata_nar_0123", "a\"", "a\n", "a\\", "a%s", "a b"]:
        asserts.true(env, repository_name_error(s), "%r should be refused" % s)
    return unittest.end(env)

_repository_name_test = unittest.make(_repository_name_impl)

def _root_name_impl(ctx):
    env = unittest.begin(ctx)
    for s in ["web", "9p", "Web_2.0-rc1", "build", "paths", "w" * 128]:
        asserts.equals(env, None, root_name_error(s))
    for s in ["", "_web", ".web", "-web", "..", "a/b", "a:b", "a b", "a+b", "a\"", "a\n", "a\\", "a%s", "wäb", "w" * 129]:
        error = root_name_error(s) or ""
        asserts.true(env, "want a name of at most 128 letters" in error, "%r: got %r" % (s, error))
    for s in ["BUILD", "BUILD.bazel", "REPO.bazel", "MODULE.bazel", "WORKSPACE", "WORKSPACE.bazel", "nars.bzl", "path", "layer", "all", "x86_64-linux"]:
        error = root_name_error(s) or ""
        asserts.true(env, "something else of that name" in error, "%r: got %r" % (s, error))
    return unittest.end(env)

_root_name_test = unittest.make(_root_name_impl)

def _nar_impl(ctx):
    env = unittest.begin(ctx)
    for s in ["https://cache.example.org/nar/a.nar.xz", "http://[::1]:80/~a?b=%20&c#d", "file:../a", "file:///a"]:
        asserts.equals(env, None, nar_url_error(s))
    for s in ["", "https:", "https:a", "ftp://a/b", "HTTPS://a/b", "nar/a", "https://a/\"", "https://a/\n", "https://a/\\", "https://a/{x}", "https://a/ b", "https://a/<"]:
        asserts.true(env, nar_url_error(s), "%r should be refused" % s)
    asserts.equals(env, None, nar_compression_error("zstd"))
    for s in ["", "zst", "xz\"", "xz\n", "%s"]:
        asserts.true(env, nar_compression_error(s), "%r should be refused" % s)
    return unittest.end(env)

_nar_test = unittest.make(_nar_impl)

def store_names_test_suite(name):
    """The tests of this file.

    Args:
      name: string, the suite's name.
    """
    unit_tests(name, {
        "store_path": _store_path_test,
        "sha256": _sha256_test,
        "nar_size": _nar_size_test,
        "nar": _nar_test,
        "repository_name": _repository_name_test,
        "root_name": _root_name_test,
    })
