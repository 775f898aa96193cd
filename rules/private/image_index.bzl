"The rule image_index."

load(":image_actions.bzl", "IMAGE_TOOLCHAIN_TYPE", "PATH_MAPPING", "archive_action", "image_args", "layers_of", "layout_action", "run_image_tool")
load(":image_settings.bzl", "image_name_error")
load(":providers/image_index_info.bzl", "ImageIndexInfo")
load(":providers/image_info.bzl", "ImageInfo")
load(":systems.bzl", "SYSTEMS")

# One image for several platforms: `image` is built in a configuration for each of them. Only what the image groups by
# itself is built in it; planned layers are in a configuration of their own, and the same for all.
def _platforms_impl(_settings, attr):
    option = "//command_line_option:platforms"
    if attr.systems:
        # Of those that don't exist the rule tells: a transition's errors don't say which attribute they are about.
        return {system: {option: str(Label("//rules/platform:" + system))} for system in attr.systems if system in SYSTEMS}
    return {str(platform): {option: str(platform)} for platform in attr.platforms}

_platforms = transition(
    implementation = _platforms_impl,
    inputs = [],
    outputs = ["//command_line_option:platforms"],
)

def _image_index_impl(ctx):
    for tag in ctx.attr.repo_tags:
        error = image_name_error(tag)
        if error:
            fail("repo_tags: %r: %s" % (tag, error))
    images = _images(ctx)
    index, descriptor, digest = _index(ctx, images)
    info = ImageIndexInfo(
        descriptor = descriptor,
        digest = digest,
        images = tuple(images),
        index = index,
        repo_tags = tuple(ctx.attr.repo_tags),
    )
    layers = layers_of(info)
    return [
        DefaultInfo(files = depset([archive_action(ctx, ctx.label.name, info)])),
        OutputGroupInfo(
            config = depset([image.config for image in images]),
            descriptor = depset([descriptor]),
            digest = depset([digest]),
            digest_files = depset([layer.digest_file for layer in layers]),
            index = depset([index]),
            layers = depset([layer.blob for layer in layers]),
            layout = depset([layout_action(ctx, ctx.label.name + ".layout", info)]),
            manifest = depset([image.manifest for image in images]),
        ),
        info,
    ]

def _images(ctx):
    "The images, after the checks that need no file."
    split = ctx.split_attr.image or {}
    if bool(split) == bool(ctx.attr.images):
        fail("image: want either this, with systems or platforms, or images" if split else "images: the index is empty; name images, or one image with systems or platforms")
    if not split:
        if ctx.attr.systems or ctx.attr.platforms:
            fail("%s: goes with image; each of images is for a system already" % ("systems" if ctx.attr.systems else "platforms"))
        images = [(d.label, d[ImageInfo]) for d in ctx.attr.images]
    else:
        if bool(ctx.attr.systems) == bool(ctx.attr.platforms):
            fail("systems: want either this or platforms with image")
        images = [(split[key].label, split[key][ImageInfo]) for key in _keys(ctx)]
    of_system = {}
    for label, image in images:
        if image.system in of_system:
            fail("%s: %s and %s are both for %s; an index has one image for each platform" % (
                "image" if split else "images",
                of_system[image.system],
                label,
                image.system,
            ))
        of_system[image.system] = label
    return [image for _, image in images]

def _keys(ctx):
    "The keys of the split attribute in their order, once it is clear that each came to what it stands for."
    split = ctx.split_attr.image
    if not ctx.attr.systems:
        return split.keys()
    for i, system in enumerate(ctx.attr.systems):
        if system not in SYSTEMS:
            fail("systems: %r: no container platform is known for it; want one of %s" % (system, ", ".join(SYSTEMS)))
        if system in ctx.attr.systems[:i]:
            fail("systems: %r: listed twice" % system)
    for system in ctx.attr.systems:
        got = split[system][ImageInfo].system

        # armhf and armv7l are two names of one platform, of which the lock has one.
        if SYSTEMS[got] != SYSTEMS[system]:
            fail("image: %s is for %s where %s is wanted; let its contents be a root that is locked for both, and don't set its system" % (
                split[system].label,
                got,
                system,
            ))
    return ctx.attr.systems

def _index(ctx, images):
    "Declares the action that reads the images' descriptors, and nothing else."
    index = ctx.actions.declare_file(ctx.label.name + ".index.json")
    descriptor = ctx.actions.declare_file(ctx.label.name + ".descriptor.json")
    digest = ctx.actions.declare_file(ctx.label.name + ".digest")
    descriptors = [image.descriptor for image in images]
    args = image_args(ctx, "index")
    args.add_all(descriptors, format_each = "--descriptor=%s")
    for name, value in ctx.attr.annotations.items():
        if not name or "=" in name or "\n" in name + value:
            fail("annotations: %r: want a name that is not empty and has no \"=\", and no line breaks" % name)
        args.add("--annotation=%s=%s" % (name, value))
    args.add(index, format = "--index-output=%s")
    args.add(descriptor, format = "--descriptor-output=%s")
    args.add(digest, format = "--digest-output=%s")
    run_image_tool(
        ctx,
        args,
        mnemonic = "StrataIndex",
        progress_message = "Writing image index %{label}",
        inputs = descriptors,
        outputs = [index, descriptor, digest],
        requirements = PATH_MAPPING,
    )
    return index, descriptor, digest

image_index = rule(
    implementation = _image_index_impl,
    doc = """Makes one image of several platforms out of images for one each: an OCI image index, which docker calls a manifest list.

```starlark
image_index(
    name = "web",
    image = ":image",  # its contents are a root that is locked for both
    repo_tags = ["web:dev"],
    systems = [
        "aarch64-linux",
        "x86_64-linux",
    ],
)
```

`image` is built for each of `systems` by Bazel's platforms: a root of a lock (`@store//:web`) then is the one of that system,
and where attributes differ, `select` with `@rules_strata//rules/system:x86_64-linux` says so. Or name targets that are for one system each in `images`.
The images are the same as by themselves, to the digest, and the index depends on nothing but theirs.

`bazel build` of the target writes `NAME.tar`, with all images in it; layers that they have in common are there once.
`podman load`, `skopeo copy --all oci-archive:`, `ctr images import --all-platforms` and docker with containerd's image store (the
default from version 29) take it as one image and choose the platform. Docker's older store knows one platform an image: there each has it in
its tag, as `web:dev-amd64` and `web:dev-arm64`.

Output groups are those of [image](#image): `index` is the index itself, `descriptor` and `digest` are the index's, `layout` has all of it, and
`manifest`, `config`, `layers` and `digest_files` are of all images. What is built of `index`, `descriptor` and `digest` needs no blob.

**Actions**, by mnemonic: `StrataIndex` makes the index, `StrataArchive` the archive, `StrataLayout` the layout.
""",
    attrs = {
        "images": attr.label_list(
            providers = [ImageInfo],
            doc = "`image`s, each for another system. Their `repo_tags` are of no consequence here.",
        ),
        "image": attr.label(
            providers = [ImageInfo],
            cfg = _platforms,
            doc = "An `image` that is built for each of `systems` or `platforms`.",
        ),
        "systems": attr.string_list(
            doc = "The systems that `image` is built for, as `x86_64-linux`: under `@rules_strata//rules/platform:x86_64-linux`.",
        ),
        "platforms": attr.label_list(
            doc = "Platforms of your own that `image` is built for, in place of `systems`: where it holds programs that are built with your toolchains.",
        ),
        "annotations": attr.string_dict(
            doc = "The index's annotations. With docker's media types it has none.",
        ),
        "repo_tags": attr.string_list(
            doc = "Names that archive and layout give the index, as `web:dev` or `registry.example.org/team/web:1.0`.",
        ),
    },
    provides = [ImageIndexInfo],
    toolchains = [IMAGE_TOOLCHAIN_TYPE],
)
