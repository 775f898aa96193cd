"Analysis tests of store_layer."

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//rules:image.bzl", "ImageInfo")
load("//rules:store_layer.bzl", "LayerInfo", "store_layer")
load(":actions.bzl", "action_arguments", "only_action")
load(":failure_test.bzl", "failure_test")
load(":other_configuration.bzl", "other_configuration")
load(":store_path_test.bzl", "LEAF", "MIDDLE", "TOP")

def _local_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    layer = target[LayerInfo]
    asserts.equals(env, [MIDDLE, TOP], [e.path for e in layer.store_paths], "sorted")
    asserts.equals(env, "gzip", layer.compression)
    asserts.equals(env, "local_layer.tar.gz", layer.blob.basename)
    asserts.equals(env, [layer.blob], target[DefaultInfo].files.to_list())
    asserts.equals(env, [layer.digest_file], target[OutputGroupInfo].digest_file.to_list())
    asserts.equals(env, [], target[OutputGroupInfo].mtree.to_list())
    asserts.equals(env, None, layer.mtree)
    asserts.equals(env, (), layer.stripped)

    action = only_action(env, "StrataLayer")
    asserts.equals(env, [layer.blob, layer.digest_file], action.outputs.to_list())
    hash = "sha256:" + "0123456789abcdef" * 4
    asserts.equals(env, [
        "--output=" + layer.blob.path,
        "--digest-file=" + layer.digest_file.path,
        "--compression=gzip",
        "--store-path=" + MIDDLE,
        "--nar-hash=" + hash,
        "--nar-size=5000000000",
        "--nar-compression=xz",
        "--nar=rules/tests/middle.nar.xz",
        "--store-path=" + TOP,
        "--nar-hash=" + hash,
        "--nar-size=200",
        "--nar-compression=none",
        "--nar=rules/tests/top.nar",
    ], action_arguments(action))
    asserts.equals(
        env,
        ["rules/tests/middle.nar.xz", "rules/tests/top.nar"],
        sorted([f.path for f in action.inputs.to_list() if f.is_source]),
    )
    asserts.equals(env, {}, action.env, "nothing of the environment")
    return analysistest.end(env)

_local_test = analysistest.make(_local_impl)

def _fetching_impl(ctx):
    env = analysistest.begin(ctx)
    layer = analysistest.target_under_test(env)[LayerInfo]
    asserts.equals(env, "fetching_layer.tar", layer.blob.basename)
    action = only_action(env, "StrataLayer")
    hash = "sha256:" + "0123456789abcdef" * 4
    asserts.equals(env, [
        "--output=" + layer.blob.path,
        "--digest-file=" + layer.digest_file.path,
        "--compression=none",
        "--store-path=" + LEAF,
        "--nar-hash=" + hash,
        "--nar-size=100",
        "--nar-compression=zstd",
        "--file-hash=" + hash,
        "--file-size=60",
        "--url=https://cache.example.org/nar/leaf.nar.zst",
        "--store-path=" + MIDDLE,
        "--nar-hash=" + hash,
        "--nar-size=5000000000",
        "--nar-compression=xz",
        "--nar=rules/tests/middle.nar.xz",
    ], action_arguments(action))
    asserts.equals(
        env,
        ["rules/tests/middle.nar.xz"],
        [f.path for f in action.inputs.to_list() if f.is_source],
        "what is fetched is no input, what is here is",
    )
    asserts.equals(env, {"LD_LIBRARY_PATH": "", "PATH": "/usr/bin:/bin"}, action.env, "not as the user has them")
    return analysistest.end(env)

_fetching_test = analysistest.make(_fetching_impl)

def _customised_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    layer = target[LayerInfo]
    asserts.equals(env, (), layer.store_paths, "it holds no store path in its place")
    asserts.equals(env, [TOP], [e.path for e in layer.stripped])
    asserts.equals(env, [layer.mtree], target[OutputGroupInfo].mtree.to_list())
    action = only_action(env, "StrataLayer")
    asserts.equals(env, [layer.blob, layer.digest_file, layer.mtree], action.outputs.to_list())
    asserts.equals(env, [
        "--output=" + layer.blob.path,
        "--digest-file=" + layer.digest_file.path,
        "--mtree=" + layer.mtree.path,
        "--compression=zstd",
        "--level=7",
        "--allow-whiteout-names",
        "--owner=1000:100",
        "--owner-names=me:users",
        "--mtime=0",
        "--strip-prefix=.",
        "--exclude=share/doc",
        "--exclude=**/*.a",
        "--mode=0755:**",
        "--mode=1777:tmp",
        "--store-path=" + TOP,
    ], action_arguments(action)[:15])
    return analysistest.end(env)

_customised_test = analysistest.make(_customised_impl)

def _compression_flag_impl(ctx):
    env = analysistest.begin(ctx)
    layer = analysistest.target_under_test(env)[LayerInfo]
    asserts.equals(env, "zstd", layer.compression)
    asserts.equals(env, "local_layer.tar.zst", layer.blob.basename)
    asserts.true(env, "--compression=zstd" in action_arguments(only_action(env, "StrataLayer")))
    return analysistest.end(env)

_compression_flag_test = analysistest.make(
    _compression_flag_impl,
    config_settings = {str(Label("//:compression")): "zstd"},
)

def _configuration_impl(ctx):
    env = analysistest.begin(ctx)
    here = analysistest.target_under_test(env)[LayerInfo]
    there = ctx.attr.there[0][LayerInfo]
    asserts.equals(env, here.blob.path, there.blob.path)
    asserts.true(env, here.blob == there.blob, "a file of the same path, but of another action")
    asserts.true(env, here.digest_file == there.digest_file)
    asserts.false(
        env,
        ctx.attr.in_other_configuration[0][ImageInfo].manifest == ctx.attr.in_this_configuration[ImageInfo].manifest,
        "the other configuration is not another one: nothing was tested",
    )
    return analysistest.end(env)

# Whatever an image is built for, its layers are the same targets.
_configuration_test = analysistest.make(
    _configuration_impl,
    attrs = {
        "in_other_configuration": attr.label(
            cfg = other_configuration,
            providers = [ImageInfo],
        ),
        "in_this_configuration": attr.label(providers = [ImageInfo]),
        "there": attr.label(
            cfg = other_configuration,
            providers = [LayerInfo],
        ),
    },
)

def store_layer_test_suite(name):
    """The tests of this file.

    Args:
      name: string, the suite's name.
    """
    tests = []
    for what, test, target in [
        ("local", _local_test, ":local_layer"),
        ("fetching", _fetching_test, ":fetching_layer"),
        ("customised", _customised_test, ":customised_layer"),
        ("compression_flag", _compression_flag_test, ":local_layer"),
    ]:
        tests.append("%s_%s" % (name, what))
        test(
            name = tests[-1],
            size = "small",
            target_under_test = target,
        )
    tests.append(name + "_configuration")
    _configuration_test(
        name = tests[-1],
        size = "small",
        in_other_configuration = ":unplanned",
        in_this_configuration = ":unplanned",
        target_under_test = ":local_layer",
        there = ":local_layer",
    )

    for what, change, want in [
        ("twice", {"paths": [":top", ":top_again"]}, ["paths: %s is there twice" % TOP, "//rules/tests:top"]),
        ("paths", {"paths": [":linux_arm64"]}, "StorePathInfo"),
        ("strip_prefix", {"paths": [":top", ":middle"], "strip_prefix": "."}, "strip_prefix: want one store path in paths, found 2"),
        ("owner_names", {"owner_names": "me:us", "paths": [":top"]}, "owner_names: want owner too"),
        ("option", {"exclude": ["a\n--output=b"], "paths": [":top"]}, "a line break can't be part of an option"),
    ]:
        tests.append(failure_test(
            name = "%s_bad_%s" % (name, what),
            rule = store_layer,
            want = want,
            **change
        ))
    native.test_suite(name = name, tests = tests)
