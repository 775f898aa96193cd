"Unit tests of store_names.bzl."

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//rules/private:store_names.bzl", "nar_size_error", "repository_name_error", "sha256_error", "store_path_error")
load(":unit_tests.bzl", "unit_tests")

_HASH = "xznc9l6ppin9j93x7xsvaba3qkn46hwr"

def _store_path_impl(ctx):
    env = unittest.begin(ctx)
    for path in [
        "/nix/store/%s-bash-5.2.15" % _HASH,
        "/gnu/store/%s-a+b?c=d_E.f" % _HASH,
        "/a/%s-x" % _HASH,
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
    for s in ["", "2web", "_store", "a-b", "a.b", "a/b", "strata_nar_0123"]:
        asserts.true(env, repository_name_error(s), "%r should be refused" % s)
    return unittest.end(env)

_repository_name_test = unittest.make(_repository_name_impl)

def store_names_test_suite(name):
    """The tests of this file.

    Args:
      name: string, the suite's name.
    """
    unit_tests(name, {
        "store_path": _store_path_test,
        "sha256": _sha256_test,
        "nar_size": _nar_size_test,
        "repository_name": _repository_name_test,
    })
