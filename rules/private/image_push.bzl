"The rule image_push."

load("@bazel_skylib//rules:common_settings.bzl", "BuildSettingInfo")
load(":command.bzl", "STRATA_TOOLCHAIN_TYPE", "strata_command")
load(":image_parts.bzl", "rlocation")
load(":providers/image_index_info.bzl", "ImageIndexInfo")
load(":providers/image_info.bzl", "ImageInfo")

def _image_push_impl(ctx):
    _check(ctx)
    description, files = _description(ctx)
    return [strata_command(ctx, ["push", description], files)]

def _check(ctx):
    for name in ["registry", "repository"]:
        value = getattr(ctx.attr, name)
        if value.startswith("/") or value.endswith("/") or "://" in value:
            fail("%s: %r: want it without a scheme, and without a slash at either end" % (name, value))
    if not ctx.attr.repository:
        fail("repository: it is empty; want the repository's name in the registry, as \"team/web\"")
    if ":" in ctx.attr.repository or "@" in ctx.attr.repository:
        fail("repository: %r: tags are named by `remote_tags`" % ctx.attr.repository)
    for tag in ctx.attr.remote_tags:
        if not tag or " " in tag or ":" in tag or "/" in tag:
            fail("remote_tags: %r: want a tag alone, as \"1.0\"" % tag)

def _description(ctx):
    """Declares the file that says what goes where (tool/cmd/strata, push_description.go).

    Blobs are named in it and are not in the runfiles: so Bazel need neither fetch them from a remote cache nor, for a
    push of what the registry has, anything but a few kB. The layers' actions are done all the same, for their digest
    files: locally the blobs are in Bazel's output tree then, remotely in the cache.
    """
    image = ctx.attr.image
    index = image[ImageIndexInfo] if ImageIndexInfo in image else None
    images = index.images if index else [image[ImageInfo]]
    description = ctx.actions.declare_file(ctx.label.name + ".push.json")

    # Names are relative to the file's own folder.
    up = "../" * rlocation(ctx, description).count("/")
    files = list(ctx.files.tag_files)
    if index:
        files.append(index.index)
    layouts = {}
    for i in images:
        files += [i.manifest, i.config] + [layer.digest_file for layer in i.layers]

        # What an image is built on may be a layout, whose layers no target of ours makes. If they aren't there, it says
        # where they are.
        base = getattr(i, "base_image", None)
        if base:
            files += base.files.to_list()
            layouts[up + rlocation(ctx, base.path)] = None
    stamped = "{" in "".join([ctx.attr.registry, ctx.attr.repository] + ctx.attr.remote_tags) or ctx.files.tag_files
    status = [ctx.info_file, ctx.version_file] if stamped else []
    cache = ctx.attr._remote_cache[BuildSettingInfo].value
    ctx.actions.write(description, json.encode_indent({
        "from": ctx.attr.blobs_from,
        "images": [
            {
                "config": up + rlocation(ctx, i.config),
                "layers": [
                    {
                        "blob": layer.blob.path,
                        "digestFile": up + rlocation(ctx, layer.digest_file),
                    }
                    for layer in i.layers
                ],
                "manifest": up + rlocation(ctx, i.manifest),
            }
            for i in images
        ],
        "index": up + rlocation(ctx, index.index) if index else "",
        "layouts": layouts.keys(),
        "path": description.path,
        "registry": ctx.attr.registry,
        "remoteCache": [cache] if cache else [],
        "repository": ctx.attr.repository,
        "statusFiles": [up + rlocation(ctx, f) for f in status],
        "tagFiles": [up + rlocation(ctx, f) for f in ctx.files.tag_files],
        "tags": ctx.attr.remote_tags,
    }) + "\n")
    return description, files + status

image_push = rule(
    implementation = _image_push_impl,
    doc = """Sends an image, or an index with its images, to a registry.

```starlark
image_push(
    name = "push",
    image = ":image",
    registry = "registry.example.org",
    repository = "team/web",
    remote_tags = [
        "latest",
        "{STABLE_GIT_COMMIT}",  # of the build's status: --workspace_status_command
    ],
)
```

`bazel run //app:push` prints the reference with the digest, then one for each tag. The flags of `strata push` can follow:
`bazel run //app:push -- --repository team/staging --tag test`.

**What moves.** The target needs manifest, config and the layers' digest files, a few kB each: no blob is among its
runfiles. A layer is opened only if the registry lacks it: in Bazel's output tree, where it is if it was made here, or in
the remote cache that `--@rules_strata//:remote_cache=URL`, `STRATA_REMOTE_CACHE` or `-- --remote-cache URL` names, or
it is made anew out of what a lock names (`-- --lock $PWD/strata.lock.json`). With a remote cache and
`--remote_download_minimal` nothing but missing blobs comes to the machine. docs/pushing.md has more.
""",
    attrs = {
        "image": attr.label(
            mandatory = True,
            providers = [[ImageInfo], [ImageIndexInfo]],
            doc = "The image, or the index.",
        ),
        "registry": attr.string(
            default = "docker.io",
            doc = "The registry's host, with a port if need be. `{KEY}` stands for a value of the build's status, here and in `repository` and `remote_tags`.",
        ),
        "repository": attr.string(
            mandatory = True,
            doc = "The repository's name in the registry, as `team/web`.",
        ),
        "remote_tags": attr.string_list(
            doc = "Tags that name the image, as `latest`. Without any, only its digest does. (Bazel keeps the name `tags` for itself.)",
        ),
        "tag_files": attr.label_list(
            allow_files = True,
            doc = "Files of tags, one a line.",
        ),
        "blobs_from": attr.string_list(
            doc = "Repositories that may have blobs of the image, as `team/base` of the same registry, which are mounted then, or `registry.example.org/team/base`, which are copied.",
        ),
        "_remote_cache": attr.label(
            default = "//:remote_cache",
            providers = [BuildSettingInfo],
        ),
    },
    executable = True,
    toolchains = [STRATA_TOOLCHAIN_TYPE],
)
