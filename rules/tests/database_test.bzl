"Analysis tests of the databases of image."

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//rules:image.bzl", "ImageInfo", "image")
load(":actions.bzl", "action_arguments", "only_action")
load(":failure_test.bzl", "failure_test")
load(":store_path_test.bzl", "LEAF", "MIDDLE", "TOP")

_HASH = "sha256:" + "0123456789abcdef" * 4

def _nix_impl(ctx):
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[ImageInfo]
    action = only_action(env, "StrataDatabase")
    outputs = action.outputs.to_list()
    asserts.equals(env, outputs, [info.layers[-1].blob, info.layers[-1].digest_file], "it is above the layers of the store")
    asserts.equals(env, [], [f.path for f in action.inputs.to_list() if f.is_source], "no NAR is read")
    asserts.equals(env, {}, action.env, "nothing of the environment")
    paths = [
        (MIDDLE, "5000000000", [LEAF, MIDDLE], {}),
        (LEAF, "100", [], {"content_address": "fixed:r:sha256:" + "0" * 52}),
        (TOP, "200", [MIDDLE], {"signatures": ["key-1:abc", "key-2:abc"]}),
    ]
    got = action_arguments(action)
    asserts.equals(env, [
        "--output=" + outputs[0].path,
        "--digest-file=" + outputs[1].path,
        "--compression=gzip",
        "--kind=nix",
        "--registration-time=5",
        "--root=" + TOP,
    ], got[:6])
    asserts.equals(env, sorted([
        "--path=" + json.encode(extra | {"nar_hash": _HASH, "nar_size": size, "path": path, "references": references})
        for path, size, references, extra in paths
    ]), sorted(got[6:]))
    return analysistest.end(env)

_nix_test = analysistest.make(_nix_impl)

def _on_base_impl(ctx):
    env = analysistest.begin(ctx)
    arguments = action_arguments(only_action(env, "StrataDatabase"))
    asserts.equals(env, ["--root=" + TOP], [a for a in arguments if a.startswith("--root=")])
    asserts.equals(env, 43, len([a for a in arguments if a.startswith("--path=")]), "the base's 40 store paths are registered too")
    return analysistest.end(env)

_on_base_test = analysistest.make(_on_base_impl)

def database_test_suite(name):
    """The tests of this file.

    Args:
      name: string, the suite's name.
    """
    tests = [name + "_nix", name + "_on_base"]
    _nix_test(
        name = tests[0],
        size = "small",
        target_under_test = ":with_nix_database",
    )
    _on_base_test(
        name = tests[1],
        size = "small",
        target_under_test = ":with_nix_database_on_base",
    )
    for what, attributes, want in [
        ("both", {"contents": [":top"], "guix_database": True, "nix_database": True}, "guix_database: nix_database is set too"),
        ("time", {"contents": [":top"], "registration_time": 2}, "registration_time: it goes with nix_database or guix_database"),
        ("negative_time", {"contents": [":top"], "nix_database": True, "registration_time": -1}, "registration_time: -1: want seconds since 1970"),
        ("no_store_paths", {"contents": [":top"], "include_store_paths": False, "nix_database": True}, "nix_database: include_store_paths = False leaves out"),
        ("nothing", {"base": ":bash_archive", "nix_database": True, "system": "x86_64-linux"}, "nix_database: there are no store paths in the image"),
        ("other_store", {"contents": [":top"], "guix_database": True}, "guix_database: /nix/store/"),
        ("other_store_hint", {"contents": [":top"], "guix_database": True}, "is in /nix/store; set nix_database instead"),
        ("altered", {"contents": [":top"], "layers": [":altered_layer"], "nix_database": True}, ["nix_database: it registers store paths whole", "//rules/tests:altered_layer leaves files out or changes modes"]),
        ("no_room", {"contents": [":top"], "max_layers": 1, "nix_database": True}, "is in no layer: max_layers is 1, and so many are in `layers`"),
    ]:
        tests.append(failure_test(
            name = "%s_bad_%s" % (name, what),
            rule = image,
            want = want,
            **attributes
        ))
    native.test_suite(name = name, tests = tests)
