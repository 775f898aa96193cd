"Unit tests of hub_files.bzl: the very text of a lock's repository."

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//rules/private:hub_files.bzl", "hub_files", "nars_file")
load("//rules/private:lock_nars.bzl", "lock_nars", "nar_repositories")
load(":lock_file_test.bzl", "lock_of_two_paths")
load(":unit_tests.bzl", "unit_tests")

_RULES = str(Label("//rules/private:x")).rpartition(":")[0]
_FLAG = str(Label("//:nar_fetch_action"))
_SYSTEM = str(Label("//rules/system:x")).rpartition(":")[0]

_HEAD = "# Written by rules_strata out of the lock's contents.\n"

_ROOT = _HEAD + """package(default_visibility = ["//visibility:public"])

alias(
    name = "app",
    actual = "//x86_64-linux:app",
)
"""

_ROOTS = _HEAD + """load("%s:store_root.bzl", "store_root")

package(default_visibility = ["//visibility:public"])

store_root(
    name = "app",
    layers = [
        "//layer:0i1z7gpjsbqynxvczq9y25iqvl66875x-a",
        "//layer:171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b",
    ],
    max_layers = 64,
    path = "//path:171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b",
    root = "app",
    system = "x86_64-linux",
)
""" % _RULES

_PATHS = _HEAD + """load("%s:store_path.bzl", "store_path")

package(default_visibility = ["//visibility:public"])

store_path(
    name = "0i1z7gpjsbqynxvczq9y25iqvl66875x-a",
    compression = "xz",
    file_hash = "sha256:%s",
    file_size = "10",
    nar = select({
        "%s": None,
        "//conditions:default": "@strata_nar_%s//:nar",
    }),
    nar_hash = "sha256:%s",
    nar_size = "5000000000",
    path = "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a",
    references = [],
    urls = [
        "https://cache.example.org/nar/a.nar.xz",
    ],
)

store_path(
    name = "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b",
    compression = "none",
    file_hash = "sha256:%s",
    file_size = "96",
    nar = "@strata_nar_%s//:nar",
    nar_hash = "sha256:%s",
    nar_size = "96",
    path = "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b",
    references = [
        ":0i1z7gpjsbqynxvczq9y25iqvl66875x-a",
    ],
    self_reference = True,
)
""" % (_RULES, "1" * 64, _FLAG, "1" * 32, "2" * 64, "3" * 64, "3" * 32, "3" * 64)

_LAYERS = _HEAD + """load("%s:store_layer.bzl", "store_layer")

package(default_visibility = ["//visibility:public"])

store_layer(
    name = "0i1z7gpjsbqynxvczq9y25iqvl66875x-a",
    paths = [
        "//path:0i1z7gpjsbqynxvczq9y25iqvl66875x-a",
    ],
)

store_layer(
    name = "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b",
    paths = [
        "//path:171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b",
    ],
)
""" % _RULES

def _one_system_impl(ctx):
    env = unittest.begin(ctx)
    files = hub_files("store", lock_of_two_paths())
    asserts.equals(env, ["BUILD.bazel", "layer/BUILD.bazel", "path/BUILD.bazel", "x86_64-linux/BUILD.bazel"], sorted(files))
    asserts.equals(env, _ROOT, files["BUILD.bazel"])
    asserts.equals(env, _ROOTS, files["x86_64-linux/BUILD.bazel"])
    asserts.equals(env, _PATHS, files["path/BUILD.bazel"])
    asserts.equals(env, _LAYERS, files["layer/BUILD.bazel"])
    return unittest.end(env)

_one_system_test = unittest.make(_one_system_impl)

_ROOT_OF_TWO_SYSTEMS = _HEAD + """package(default_visibility = ["//visibility:public"])

alias(
    name = "app",
    actual = select({
        "%s:aarch64-linux": "//aarch64-linux:app",
        "%s:x86_64-linux": "//x86_64-linux:app",
    }, no_match_error = "@store//:app is locked for aarch64-linux, x86_64-linux; the target platform is none of them (--platforms)"),
)
""" % (_SYSTEM, _SYSTEM)

def _several_systems_impl(ctx):
    env = unittest.begin(ctx)
    lock = lock_of_two_paths()
    path = lock["roots"]["app"]["x86_64-linux"]
    layers = lock["plan"]["images"]["app"]["x86_64-linux"]
    lock["roots"]["app"]["aarch64-linux"] = path
    lock["roots"]["tool"] = {"aarch64-linux": path}
    lock["plan"]["images"]["app"]["aarch64-linux"] = layers[:1]
    lock["plan"]["images"]["tool"] = {"aarch64-linux": layers}
    files = hub_files("store", lock)
    asserts.true(env, files["BUILD.bazel"].startswith(_ROOT_OF_TWO_SYSTEMS), files["BUILD.bazel"])
    asserts.true(env, "actual = \"//aarch64-linux:tool\"" in files["BUILD.bazel"])
    asserts.true(env, "name = \"tool\"" in files["aarch64-linux/BUILD.bazel"])
    asserts.false(env, "name = \"tool\"" in files["x86_64-linux/BUILD.bazel"])
    asserts.true(env, "layers = [\n        \"//layer:%s\",\n    ],\n    max_layers = 64" % layers[0] in files["aarch64-linux/BUILD.bazel"])
    return unittest.end(env)

_several_systems_test = unittest.make(_several_systems_impl)

def _mirrors_impl(ctx):
    env = unittest.begin(ctx)
    lock = lock_of_two_paths()
    lock["mirrors"] = {"https://cache.example.org": ["https://second.example.org"]}
    text = hub_files("store", lock, {"https://cache.example.org": ["https://first.example.org/nix"]})["path/BUILD.bazel"]
    want = """    urls = [
        "https://first.example.org/nix/nar/a.nar.xz",
        "https://second.example.org/nar/a.nar.xz",
        "https://cache.example.org/nar/a.nar.xz",
    ],
"""
    asserts.true(env, want in text, text)

    # A path that may come out of a file is an input in either case.
    text = hub_files("store", lock, {"https://cache.example.org": ["file:copy"]})["path/BUILD.bazel"]
    asserts.false(env, "urls" in text or "select" in text, text)
    return unittest.end(env)

_mirrors_test = unittest.make(_mirrors_impl)

def _vouchers_impl(ctx):
    env = unittest.begin(ctx)
    lock = lock_of_two_paths()
    for path in lock["paths"].values():
        path.pop("signed_by", None)
        path.pop("allowed_unsigned_by", None)
    lock["paths"]["/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a"]["content_addressed"] = "fixed:r:sha256:x"
    lock["paths"]["/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"]["signature"] = "key-1:x"
    text = hub_files("store", lock)["path/BUILD.bazel"]
    asserts.true(env, "    content_address = \"fixed:r:sha256:x\",\n" in text, text)
    asserts.true(env, "    signatures = [\n        \"key-1:x\",\n    ],\n" in text, text)
    return unittest.end(env)

_vouchers_test = unittest.make(_vouchers_impl)

# What no lock gets past lock_error, and must stay a string all the same. The JSON form of a string of these characters is Starlark's.
_HOSTILE = "a\"],)\\\n%s{x}\")"

def _quoting_impl(ctx):
    env = unittest.begin(ctx)
    lock = lock_of_two_paths()
    system = _HOSTILE + "3"
    path = "/nix/store%s/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b" % _HOSTILE
    fields = lock["paths"].pop("/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b")
    for name in ["compression", "nar_hash"]:
        fields[name] = _HOSTILE
    fields["url"] = "https://x/" + _HOSTILE
    fields["file_hash"] = "sha256:" + _HOSTILE
    fields["references"] = [_HOSTILE + "r"]
    lock["paths"] = {path: fields}
    lock["roots"] = {_HOSTILE + "1": {system: path}}
    lock["plan"]["layers"] = {_HOSTILE + "2": [_HOSTILE + "p"]}
    lock["plan"]["images"] = {_HOSTILE + "1": {system: [_HOSTILE + "2"]}}
    files = hub_files("store", lock)
    for file, field, value in [
        ("BUILD.bazel", "name = %s,", _HOSTILE + "1"),
        ("BUILD.bazel", "actual = %s,", "//%s:%s1" % (system, _HOSTILE)),
        (system + "/BUILD.bazel", "name = %s,", _HOSTILE + "1"),
        (system + "/BUILD.bazel", "root = %s,", _HOSTILE + "1"),
        (system + "/BUILD.bazel", "system = %s,", system),
        (system + "/BUILD.bazel", "        %s,", "//layer:%s2" % _HOSTILE),
        ("layer/BUILD.bazel", "name = %s,", _HOSTILE + "2"),
        ("layer/BUILD.bazel", "        %s,", "//path:%sp" % _HOSTILE),
        ("path/BUILD.bazel", "path = %s,", path),
        ("path/BUILD.bazel", "compression = %s,", _HOSTILE),
        ("path/BUILD.bazel", "nar_hash = %s,", _HOSTILE),
        ("path/BUILD.bazel", "file_hash = %s,", "sha256:" + _HOSTILE),
        ("path/BUILD.bazel", "\"//conditions:default\": %s,", "@strata_nar_%s//:nar" % _HOSTILE),
        ("path/BUILD.bazel", "urls = [\n        %s,", "https://x/" + _HOSTILE),
        ("path/BUILD.bazel", "        %s,", ":%sr" % _HOSTILE),
    ]:
        want = field % json.encode(value)
        asserts.true(env, want in files[file], "%s: no %s in:\n%s" % (file, want, files[file]))
    for file, text in files.items():
        for line in text.split("\n"):
            asserts.false(env, line.startswith("%s{x}"), "%s: a line feed is not quoted: %s" % (file, line))

    nars = {"strata_nar_" + _HOSTILE: {"store_path": path, "urls": [_HOSTILE]}}
    text = nars_file("store", nars)
    for value in ["strata_nar_" + _HOSTILE, path, _HOSTILE]:
        asserts.true(env, json.encode(value) in text, text)
    return unittest.end(env)

_quoting_test = unittest.make(_quoting_impl)

def _nars_impl(ctx):
    env = unittest.begin(ctx)
    text = nars_file("store", nar_repositories([lock_nars(lock_of_two_paths(), "@//app")[0]]))
    asserts.true(env, "def store_nars():" in text)
    asserts.true(env, "\"strata_nar_%s\": {" % ("1" * 32) in text)
    asserts.true(env, "\"file:cache/nar/b.nar\"" in text)
    return unittest.end(env)

_nars_test = unittest.make(_nars_impl)

def hub_files_test_suite(name):
    """The tests of this file.

    Args:
      name: string, the suite's name.
    """
    unit_tests(name, {
        "one_system": _one_system_test,
        "several_systems": _several_systems_test,
        "mirrors": _mirrors_test,
        "nars": _nars_test,
        "quoting": _quoting_test,
        "vouchers": _vouchers_test,
    })
