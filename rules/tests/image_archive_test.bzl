"Analysis tests of image_archive."

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//rules:image_archive.bzl", "image_archive")
load(":actions.bzl", "action_arguments", "only_action")
load(":failure_test.bzl", "failure_test")

def _archive_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    output = target[DefaultInfo].files.to_list()
    asserts.equals(env, [ctx.attr.output], [f.basename for f in output])
    arguments = action_arguments(only_action(env, ctx.attr.mnemonic))
    asserts.equals(env, ctx.attr.command, arguments[0])
    parts = ["--config", "--manifest", "--index", "--layer", "--blob"]
    asserts.equals(
        env,
        ctx.attr.options,
        [a for a in arguments[1:-1] if a.partition("=")[0] not in parts],
    )
    asserts.equals(env, ctx.attr.images, len([a for a in arguments if a.startswith("--manifest=")]))
    asserts.true(env, arguments[-1].endswith("=" + output[0].path))
    return analysistest.end(env)

_archive_test = analysistest.make(
    _archive_impl,
    attrs = {
        "command": attr.string(default = "archive"),
        "images": attr.int(default = 1),
        "mnemonic": attr.string(default = "StrataArchive"),
        "options": attr.string_list(),
        "output": attr.string(),
    },
)

def image_archive_test_suite(name):
    """The tests of this file.

    Args:
      name: string, the suite's name.
    """
    tests = []
    for what, target, attributes in [
        ("legacy", ":legacy_archive", {
            "options": ["--tag=x86:dev", "--format=docker-archive", "--legacy=true", "--compression=gzip"],
            "output": "legacy_archive.tar.gz",
        }),
        ("index", ":index_archive", {
            "images": 2,
            "options": ["--tag=web:dev", "--format=oci-archive", "--compression=zstd"],
            "output": "index_archive.tar.zst",
        }),
        ("nixery", ":nixery", {
            "command": "nixery",
            "mnemonic": "StrataNixery",
            "output": "nixery.nixery",
        }),
    ]:
        tests.append("%s_%s" % (name, what))
        _archive_test(
            name = tests[-1],
            size = "small",
            target_under_test = target,
            **attributes
        )
    for what, attributes, want in [
        ("legacy", {"image": ":x86_image", "legacy": True}, "legacy: goes with format = \"docker-archive\" alone"),
        ("nixery_index", {"format": "nixery", "image": ":index_by_images"}, ["image: ", "index_by_images is an index; Nixery's output is of a single image"]),
        ("nixery_compression", {"compression": "gzip", "format": "nixery", "image": ":x86_image"}, "compression: \"gzip\": Nixery's output is a directory"),
    ]:
        tests.append(failure_test(
            name = "%s_bad_%s" % (name, what),
            rule = image_archive,
            want = want,
            **attributes
        ))
    native.test_suite(name = name, tests = tests)
