"Analysis tests of store_path."

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//rules:store_path.bzl", "StorePathInfo", "store_path")
load(":failure_test.bzl", "failure_test")

_HASH = "sha256:" + "0123456789abcdef" * 4

LEAF = "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-leaf"
MIDDLE = "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-middle"
TOP = "/nix/store/317swdjdxnw2jxvpycixvw0wkpjkp9lz-top"

def _provider_impl(ctx):
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[StorePathInfo]
    asserts.equals(env, TOP, info.path)
    asserts.equals(env, "rules/tests/top.nar", info.nar.path)
    asserts.equals(env, _HASH, info.nar_hash)
    asserts.equals(env, "200", info.nar_size)
    asserts.equals(env, "none", info.compression)
    asserts.equals(env, (), info.urls)
    asserts.equals(env, None, info.file_hash)
    asserts.equals(env, None, info.file_size)
    asserts.equals(env, (MIDDLE,), info.references)
    asserts.equals(env, ("key-1:abc", "key-2:abc"), info.signatures)
    asserts.equals(env, None, info.content_address)
    asserts.equals(env, "x86_64-linux", info.system)
    asserts.equals(env, 0, len(analysistest.target_actions(env)), "a store path has no action")

    closure = {e.path: e for e in info.closure.to_list()}
    asserts.equals(env, [LEAF, MIDDLE, TOP], sorted(closure))
    asserts.equals(env, info.entry, closure[TOP])
    asserts.equals(env, (LEAF, MIDDLE), closure[MIDDLE].references, "itself included")
    asserts.equals(env, "5000000000", closure[MIDDLE].nar_size)
    asserts.equals(env, None, closure[LEAF].nar)
    asserts.equals(env, ("https://cache.example.org/nar/leaf.nar.zst",), closure[LEAF].urls)
    asserts.equals(env, Label(":leaf"), closure[LEAF].label)
    return analysistest.end(env)

_provider_test = analysistest.make(_provider_impl)

def store_path_test_suite(name):
    """The tests of this file.

    Args:
      name: string, the suite's name.
    """
    tests = [name + "_provider"]
    _provider_test(
        name = tests[0],
        size = "small",
        target_under_test = ":top",
    )
    good = {
        "nar": "top.nar",
        "nar_hash": _HASH,
        "nar_size": "96",
        "path": TOP,
    }
    for what, change, want in [
        ("path", {"path": "/nix/store/top"}, "path: \"top\" is no base name"),
        ("relative_path", {"path": TOP[1:]}, "is no store path"),
        ("nar_hash", {"nar_hash": "sha256:15nnwx3vh11348pyiyfjhkwq656skqdgbfg0yfnqfjznv7i3l7ar"}, "nar_hash: \"sha256:15nn"),
        ("nar_size", {"nar_size": "1e3"}, "nar_size: \"1e3\""),
        ("file_hash", {"file_hash": "abc"}, "file_hash: \"abc\""),
        ("file_size", {"file_size": "-1"}, "file_size: \"-1\""),
        ("no_nar", {"nar": None}, "has neither a NAR nor a URL"),
        ("file_url", {"file_hash": _HASH, "nar": None, "urls": ["file:///x.nar"]}, "urls: file:///x.nar"),
        ("url", {"file_hash": _HASH, "nar": None, "urls": ["https://cache.example.org/x\n.nar"]}, "urls: \"https://cache.example.org/x\\n.nar\""),
        ("unpinned_url", {"nar": None, "urls": ["https://cache.example.org/x.nar"]}, "file_hash: " + TOP),
        ("references", {"references": [":linux_arm64"]}, "StorePathInfo"),
    ]:
        tests.append(failure_test(
            name = "%s_bad_%s" % (name, what),
            rule = store_path,
            want = want,
            **(good | change)
        ))
    native.test_suite(name = name, tests = tests)
