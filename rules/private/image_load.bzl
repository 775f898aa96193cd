"The rule image_load."

load(":command.bzl", "STRATA_TOOLCHAIN_TYPE", "strata_command")
load(":image_parts.bzl", "image_parts")
load(":image_settings.bzl", "image_name_error")
load(":providers/image_info.bzl", "ImageInfo")

def _image_load_impl(ctx):
    for tag in ctx.attr.repo_tags:
        error = image_name_error(tag)
        if error:
            fail("repo_tags: %r: %s" % (tag, error))
    parts, files = image_parts(ctx, ctx.attr.image, ctx.attr.repo_tags)
    args = ["load", parts]
    if ctx.attr.runtime:
        args.append("--runtime=" + ctx.attr.runtime)
    return [strata_command(ctx, args, files)]

image_load = rule(
    implementation = _image_load_impl,
    doc = """Puts an image into the container runtime that runs here: docker, podman or containerd.

```starlark
image_load(
    name = "load",
    image = ":image",
)
```

`bazel run //app:load` prints the image's name. `bazel run //app:load -- run --rm -p 8080:8080 -- --verbose` starts a
container of it as well: what stands between `run` and `--` are options of the runtime's own run command, what follows
are arguments of the program. Other flags are those of `strata load`: `--runtime`, `--tag`, `--host` and more
(`bazel run //app:load -- --help`).

Layers that the runtime has are not sent again. No archive is built: it is made of the layers' blobs as it is sent.
docs/loading.md says what each runtime can do.
""",
    attrs = {
        "image": attr.label(
            mandatory = True,
            providers = [ImageInfo],
            doc = "The image.",
        ),
        "repo_tags": attr.string_list(
            doc = "Names that the image gets, as `web:dev`; by default those that it has itself.",
        ),
        "runtime": attr.string(
            values = ["", "docker", "podman", "containerd"],
            doc = "The runtime; by default what the environment's `STRATA_RUNTIME` says, or the first of docker, podman and containerd that answers.",
        ),
    },
    executable = True,
    toolchains = [STRATA_TOOLCHAIN_TYPE],
)
