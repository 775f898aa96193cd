"Analysis tests of image_push."

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//rules:push.bzl", "image_push")
load(":failure_test.bzl", "failure_test")

def _runfiles_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    files = target[DefaultInfo].default_runfiles.files.to_list()
    names = [f.basename for f in files]
    for want in ["push.push.json", "push.strata-args", "web.manifest.json", "web.config.json", "stable-status.txt", "volatile-status.txt"]:
        asserts.true(env, want in names, "%s is among the runfiles" % want)
    asserts.equals(env, [], [name for name in names if name.endswith((".tar", ".tar.gz", ".tar.zst"))], "no blob is among the runfiles")

    [write] = [a for a in analysistest.target_actions(env) if a.outputs.to_list()[0].basename == "push.push.json"]
    description = json.decode(write.content)
    asserts.equals(env, write.outputs.to_list()[0].path, description["path"])
    asserts.equals(env, "registry.example.org:5000", description["registry"])
    asserts.equals(env, "team/web", description["repository"])
    asserts.equals(env, ["latest", "{STABLE_GIT_COMMIT}"], description["tags"])
    asserts.equals(env, ["team/base"], description["from"])
    asserts.equals(env, 1, len(description["images"]))
    [image] = description["images"]
    asserts.equals(env, "../../../_main/rules/tests/web.manifest.json", image["manifest"])
    for layer in image["layers"]:
        asserts.true(env, layer["blob"].startswith("bazel-out/"), layer["blob"])
        asserts.true(env, layer["digestFile"].startswith("../../../"), layer["digestFile"])
    return analysistest.end(env)

_runfiles_test = analysistest.make(_runfiles_impl)

def image_push_test_suite(name):
    _runfiles_test(name = "image_push_runfiles_test", size = "small", target_under_test = ":push")
    native.test_suite(
        name = name,
        tests = ["image_push_runfiles_test"] + [
            failure_test(
                "image_push_%s_test" % what,
                image_push,
                image = ":web",
                want = want,
                **attributes
            )
            for what, want, attributes in [
                ("empty_repository", "repository: it is empty", {"repository": ""}),
                ("repository_with_tag", "repository: \"web:dev\": tags are named by `remote_tags`", {"repository": "web:dev"}),
                ("registry_with_scheme", "registry: \"https://registry.example.org\": want it without a scheme", {"registry": "https://registry.example.org", "repository": "web"}),
                ("bad_tag", "remote_tags: \"a b\": want a tag alone", {"remote_tags": ["a b"], "repository": "web"}),
            ]
        ],
    )
