"Analysis tests of run_layer."

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//rules:image.bzl", "ImageInfo", "image")
load("//rules:run_layer.bzl", "run_layer")
load("//rules:store_layer.bzl", "LayerInfo")
load(":actions.bzl", "action_arguments", "only_action")
load(":failure_test.bzl", "failure_test")

def _run_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    layer = target[LayerInfo]
    asserts.equals(env, [layer.blob], target[DefaultInfo].files.to_list())
    asserts.equals(env, ((), (), (), True), (layer.store_paths, layer.stripped, layer.refers_to, layer.on_top))

    # It reads the image's documents and all of its layers, the base's too.
    info = ctx.attr.over[ImageInfo]
    action = only_action(env, "StrataRun")
    inputs = action.inputs.to_list()
    spec = [f for f in inputs if f.basename == "all_of_run.spec.json"]
    asserts.equals(env, 1, len(spec))
    parts = []
    for below in info.layers:
        parts += ["--layer=" + below.digest_file.path, "--blob=" + below.blob.path]
        asserts.true(env, below.blob in inputs and below.digest_file in inputs)
    asserts.equals(env, [
        "--spec=" + spec[0].path,
        "--config=" + info.config.path,
        "--manifest=" + info.manifest.path,
    ] + parts + [
        "--output=" + layer.blob.path,
        "--digest-file=" + layer.digest_file.path,
        "--mtree=" + layer.mtree.path,
        "--compression=zstd",
        "--level=best",
    ], action_arguments(action))

    # What is run is in a file: a command may have line breaks.
    written = [a for a in analysistest.target_actions(env) if a.mnemonic == "FileWrite"]
    asserts.equals(env, {
        "command": ["/bin/sh", "-c", "a\nb"],
        "env": {"A": "b"},
        "mtime": 0,
        "owners": {"srv": "1:1"},
        "scratch": [],
        "time_limit": "90s",
        "user": "web:100",
        "workdir": "/srv",
    }, json.decode(written[0].content))
    return analysistest.end(env)

_run_test = analysistest.make(_run_impl, attrs = {"over": attr.label(providers = [ImageInfo])})

def run_layer_test_suite(name):
    """Declares the tests.

    Args:
      name: string, the test suite's name.
    """
    image(
        name = "image_to_run",
        contents = [":root"],
        tags = ["manual"],
    )
    run_layer(
        name = "all_of_run",
        command = ["/bin/sh", "-c", "a\nb"],
        compression = "zstd",
        env = {"A": "b"},
        image = ":image_to_run",
        level = "best",
        mtime = 0,
        mtree = True,
        owners = {"srv": "1:1"},
        scratch = [],
        tags = ["manual"],
        time_limit = "90s",
        user = "web:100",
        workdir = "/srv",
    )
    tests = [name + "_run"]
    _run_test(
        name = name + "_run",
        size = "small",
        over = ":image_to_run",
        target_under_test = ":all_of_run",
    )
    for what, attributes, want in [
        ("command", {"command": [""]}, "command: want a program and its arguments"),
        ("env", {"env": {"A=": "b"}}, "env: \"A=\": a variable's name"),
        ("user", {"user": "a:b:c"}, "user: \"a:b:c\": want USER or USER:GROUP"),
        ("workdir", {"workdir": "srv"}, "workdir: \"srv\": want an absolute path"),
        ("scratch", {"scratch": ["../x"]}, "scratch: \"../x\": want a path in the image"),
        ("owners", {"owners": {"srv": "web"}}, "owners: \"web\" of \"srv\": want UID:GID"),
        ("mtime", {"mtime": -1}, "mtime: -1: want seconds since 1970"),
    ]:
        tests.append(failure_test(
            name = "%s_bad_%s" % (name, what),
            rule = run_layer,
            want = want,
            **({"command": ["x"], "image": ":image_to_run"} | attributes)
        ))
    native.test_suite(
        name = name,
        tests = tests,
    )
