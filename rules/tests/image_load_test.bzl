"Analysis tests of image_load."

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//rules:image.bzl", "ImageInfo")
load("//rules:load.bzl", "image_load")
load(":failure_test.bzl", "failure_test")

def _parts_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    image = ctx.attr.image[ImageInfo]
    runfiles = {f.short_path: f for f in target[DefaultInfo].default_runfiles.files.to_list()}
    written = {
        a.outputs.to_list()[0].basename: a
        for a in analysistest.target_actions(env)
        if a.mnemonic == "FileWrite"
    }

    # The executable is a link to the command, with its arguments beside it.
    executable = target[DefaultInfo].files_to_run.executable
    asserts.equals(env, executable.short_path + ".strata-args", written[executable.basename + ".strata-args"].outputs.to_list()[0].short_path)
    parts = written[executable.basename + ".parts.json"]
    parts_file = parts.outputs.to_list()[0]
    asserts.equals(env, "load\n${RUNFILES}/%s/%s\n" % (ctx.workspace_name, parts_file.short_path) +
                        "".join([a + "\n" for a in ctx.attr.want_args]), written[executable.basename + ".strata-args"].content)

    # All that the parts name is in the runfiles: digest files and blobs, and no archive.
    content = json.decode(parts.content)
    asserts.equals(env, ctx.attr.want_tags, content["tags"])
    up = "../" * (ctx.workspace_name + "/" + parts_file.short_path).count("/")

    def name(file):
        return up + (file.short_path[len("../"):] if file.short_path.startswith("../") else ctx.workspace_name + "/" + file.short_path)

    asserts.equals(env, name(image.manifest), content["manifest"])
    asserts.equals(env, name(image.config), content["config"])
    asserts.equals(
        env,
        [{"blob": name(layer.blob), "digestFile": name(layer.digest_file)} for layer in image.layers],
        content["layers"],
    )
    for f in [image.manifest, image.config] + [f for layer in image.layers for f in [layer.digest_file, layer.blob]]:
        asserts.true(env, f.short_path in runfiles, f.short_path + " is not in the runfiles")
    asserts.equals(env, [], [f for f in runfiles if f.endswith("web.tar")])
    return analysistest.end(env)

_parts_test = analysistest.make(_parts_impl, attrs = {
    "image": attr.label(providers = [ImageInfo]),
    "want_args": attr.string_list(),
    "want_tags": attr.string_list(),
})

def image_load_test_suite(name):
    """Declares the tests.

    Args:
      name: string, the suite's name.
    """
    _parts_test(
        name = name + "_parts",
        size = "small",
        image = ":web",
        target_under_test = ":load_web",
        want_tags = ["web:a", "web:b"],
    )
    _parts_test(
        name = name + "_attributes",
        size = "small",
        image = ":web",
        target_under_test = ":load_web_as",
        want_args = ["--runtime=podman"],
        want_tags = ["other:1"],
    )
    failure_test(
        name = name + "_bad_tag",
        image = ":web",
        repo_tags = ["A B"],
        rule = image_load,
        want = "repo_tags: \"A B\": ",
    )
    native.test_suite(
        name = name,
        tests = [name + "_parts", name + "_attributes", name + "_bad_tag"],
    )
