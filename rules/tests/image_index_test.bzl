"Analysis tests of image_index."

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//rules:image.bzl", "ImageInfo")
load("//rules:image_index.bzl", "ImageIndexInfo", "image_index")
load(":actions.bzl", "action_arguments", "only_action")
load(":failure_test.bzl", "failure_test")

def _actions_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    info = target[ImageIndexInfo]
    groups = target[OutputGroupInfo]
    asserts.equals(env, ["x86_64-linux", "aarch64-linux"], [image.system for image in info.images])
    asserts.equals(env, ("web:dev",), info.repo_tags)
    layers = {layer.blob: layer for image in info.images for layer in image.layers}.values()
    for group, want in {
        "config": [image.config for image in info.images],
        "descriptor": [info.descriptor],
        "digest": [info.digest],
        "digest_files": [layer.digest_file for layer in layers],
        "index": [info.index],
        "layers": [layer.blob for layer in layers],
        "manifest": [image.manifest for image in info.images],
    }.items():
        asserts.equals(env, want, getattr(groups, group).to_list(), "output group " + group)
    layout = groups.layout.to_list()
    asserts.true(env, len(layout) == 1 and layout[0].is_directory)

    # The index is made of the images' descriptors, and of nothing else.
    action = only_action(env, "StrataIndex")
    asserts.equals(env, [
        "index",
    ] + ["--descriptor=" + image.descriptor.path for image in info.images] + [
        "--annotation=org.example.a=b=c",
        "--index-output=" + info.index.path,
        "--descriptor-output=" + info.descriptor.path,
        "--digest-output=" + info.digest.path,
    ], action_arguments(action))
    parts = []
    for image in info.images:
        parts += ["--config=" + image.config.path, "--manifest=" + image.manifest.path]
    parts.append("--index=" + info.index.path)
    for layer in layers:
        parts += ["--layer=" + layer.digest_file.path, "--blob=" + layer.blob.path]
    parts.append("--tag=web:dev")
    archive = target[DefaultInfo].files.to_list()
    asserts.equals(env, ["index_by_systems.tar"], [f.basename for f in archive])
    asserts.equals(env, ["archive"] + parts + ["--output=" + archive[0].path], action_arguments(only_action(env, "StrataArchive")))
    asserts.equals(env, ["layout"] + parts + ["--output-dir=" + layout[0].path], action_arguments(only_action(env, "StrataLayout")))
    return analysistest.end(env)

_actions_test = analysistest.make(_actions_impl)

def _platforms_impl(ctx):
    env = analysistest.begin(ctx)
    images = analysistest.target_under_test(env)[ImageIndexInfo].images
    asserts.equals(env, ["aarch64-linux", "x86_64-linux"], sorted([image.system for image in images]))

    # The planned layers are those of the images alone: in one configuration, whatever the image's is.
    of_system = {image.system: image for image in images}
    for single in ctx.attr.single:
        alone = single[ImageInfo]
        asserts.equals(
            env,
            [layer.blob for layer in alone.layers],
            [layer.blob for layer in of_system[alone.system].layers],
        )
    return analysistest.end(env)

_platforms_test = analysistest.make(
    _platforms_impl,
    attrs = {"single": attr.label_list(providers = [ImageInfo])},
)

def _images_impl(ctx):
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[ImageIndexInfo]
    asserts.equals(env, [single[ImageInfo] for single in ctx.attr.single], list(info.images))
    asserts.equals(env, (), info.repo_tags, "the images' names are not the index's")
    return analysistest.end(env)

_images_test = analysistest.make(
    _images_impl,
    attrs = {"single": attr.label_list(providers = [ImageInfo])},
)

def image_index_test_suite(name):
    """The tests of this file.

    Args:
      name: string, the suite's name.
    """
    tests = []
    for what, test, target, attributes in [
        ("actions", _actions_test, ":index_by_systems", {}),
        ("platforms", _platforms_test, ":index_by_platforms", {"single": [":arm_image", ":x86_image"]}),
        ("systems", _platforms_test, ":index_by_systems", {"single": [":arm_image", ":x86_image"]}),
        ("images", _images_test, ":index_by_images", {"single": [":arm_image", ":x86_image"]}),
    ]:
        tests.append("%s_%s" % (name, what))
        test(
            name = tests[-1],
            size = "small",
            target_under_test = target,
            **attributes
        )
    both = ["aarch64-linux", "x86_64-linux"]
    for what, attributes, want in [
        ("empty", {}, "images: the index is empty"),
        ("both", {"image": ":either_image", "images": [":arm_image"], "systems": both}, "image: want either this"),
        ("no_systems", {"image": ":either_image"}, "systems: want either this or platforms with image"),
        ("systems_of_images", {"images": [":arm_image"], "systems": both}, "systems: goes with image"),
        ("platforms_of_images", {"images": [":arm_image"], "platforms": [":linux_arm64"]}, "platforms: goes with image"),
        ("unknown_system", {"image": ":either_image", "systems": ["x86_64-linux", "vax-vms"]}, "systems: \"vax-vms\": no container platform is known for it; want one of aarch64-linux"),
        ("system_twice", {"image": ":either_image", "systems": ["x86_64-linux", "x86_64-linux"]}, "systems: \"x86_64-linux\": listed twice"),
        ("other_system", {"image": ":x86_image", "systems": ["aarch64-linux"]}, ["image: ", "x86_image is for x86_64-linux where aarch64-linux is wanted"]),
        ("one_platform", {"images": [":x86_image", ":unplanned"]}, ["images: ", "x86_image and ", "unplanned are both for x86_64-linux"]),
        ("tag", {"images": [":arm_image"], "repo_tags": ["Web"]}, "repo_tags: \"Web\": component \"Web\" of the name: want lower-case letters"),
        ("annotation", {"annotations": {"a=b": "c"}, "images": [":arm_image"]}, "annotations: \"a=b\": want a name"),
    ]:
        tests.append(failure_test(
            name = "%s_bad_%s" % (name, what),
            rule = image_index,
            want = want,
            **attributes
        ))
    native.test_suite(name = name, tests = tests)
