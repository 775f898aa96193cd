"The actions that put an image, or an index with its images, into files that clients take."

IMAGE_TOOLCHAIN_TYPE = Label("//rules/toolchain:image_toolchain_type")

PATH_MAPPING = {"supports-path-mapping": "1"}

# The values of an archive's compression, with the extensions.
ARCHIVE_EXTENSIONS = {
    "gzip": ".tar.gz",
    "none": ".tar",
    "zstd": ".tar.zst",
}

def archive_action(ctx, name, info, format = "archive", legacy = False, compression = "none"):
    """Declares the action that writes an archive.

    Args:
      ctx: the rule's context; the rule has the toolchain type IMAGE_TOOLCHAIN_TYPE.
      name: string. The archive's name without its extension.
      info: ImageInfo or ImageIndexInfo.
      format: string, as the tool's --format: `archive`, `docker-archive` or `oci-archive`.
      legacy: bool, as the tool's --legacy.
      compression: string, of the archive itself, a key of ARCHIVE_EXTENSIONS.

    Returns:
      File.
    """
    archive = ctx.actions.declare_file(name + ARCHIVE_EXTENSIONS[compression])
    args = image_args(ctx, "archive")
    inputs = _add_parts(args, info) + _add_tags(args, info)
    if format != "archive":
        args.add(format, format = "--format=%s")
    if legacy:
        args.add("--legacy=true")
    if compression != "none":
        args.add(compression, format = "--compression=%s")
    args.add(archive, format = "--output=%s")
    run_image_tool(
        ctx,
        args,
        mnemonic = "StrataArchive",
        progress_message = "Writing image archive %{label}",
        inputs = inputs,
        outputs = [archive],
        requirements = PATH_MAPPING | {
            # Neither in a remote cache nor in the disk cache (`no-remote-cache` keeps it out of the former only): it is
            # the layers over again, whose blobs are there already, and put together as fast as it would be read.
            "no-cache": "1",
        },
    )
    return archive

def layout_action(ctx, name, info):
    """Declares the action that writes an OCI layout.

    Args:
      ctx: the rule's context; the rule has the toolchain type IMAGE_TOOLCHAIN_TYPE.
      name: string. The directory's name.
      info: ImageInfo or ImageIndexInfo.

    Returns:
      File, a directory.
    """
    layout = ctx.actions.declare_directory(name)
    args = image_args(ctx, "layout")
    inputs = _add_parts(args, info) + _add_tags(args, info)
    args.add_all([layout], format_each = "--output-dir=%s", expand_directories = False)
    _run_linking(ctx, args, "StrataLayout", "Writing image layout %{label}", inputs, layout)
    return layout

def nixery_action(ctx, name, info):
    """Declares the action that writes what Nixery's image builder writes.

    Args:
      ctx: the rule's context; the rule has the toolchain type IMAGE_TOOLCHAIN_TYPE.
      name: string. The directory's name.
      info: ImageInfo.

    Returns:
      File, a directory.
    """
    directory = ctx.actions.declare_directory(name)
    args = image_args(ctx, "nixery")
    inputs = _add_parts(args, info)
    args.add_all([directory], format_each = "--output-dir=%s", expand_directories = False)
    _run_linking(ctx, args, "StrataNixery", "Writing Nixery's output %{label}", inputs, directory)
    return directory

def _run_linking(ctx, args, mnemonic, progress_message, inputs, directory):
    run_image_tool(
        ctx,
        args,
        mnemonic = mnemonic,
        progress_message = progress_message,
        inputs = inputs,
        outputs = [directory],
        # Its blobs are relative links out of the directory to the layers' files, which Bazel allows since 7.1. So it
        # - runs here, where Bazel then has the blobs: a remote executor's links would lead nowhere;
        # - is in no cache: that would follow the links, and give back copies (tried: disk cache of Bazel 7.7);
        # - has no path mapping, which would put it elsewhere than the links were made for.
        # In a sandbox the links lead to the sandbox's links to the blobs, and to the blobs themselves once Bazel has
        # moved the directory out. `bazel clean` removes both ends.
        requirements = {
            "no-cache": "1",
            "no-remote-exec": "1",
        },
    )

def image_args(ctx, command):
    """Begins the arguments of the image tool.

    Args:
      ctx: the rule's context.
      command: string, the tool's command.

    Returns:
      Args.
    """
    args = ctx.actions.args()
    args.use_param_file("@%s", use_always = True)
    args.set_param_file_format("multiline")
    args.add(command)
    return args

def _add_parts(args, info):
    "Adds what an archive or a layout is made of, and returns it as a list of files."
    inputs = []
    for image in images_of(info):
        args.add(image.config, format = "--config=%s")
        args.add(image.manifest, format = "--manifest=%s")
        inputs += [image.config, image.manifest]
    if hasattr(info, "index"):
        args.add(info.index, format = "--index=%s")
        inputs.append(info.index)
    bases = {}
    for image in images_of(info):
        base = image.base_image
        if base and (base.path, base.name) not in bases:
            bases[(base.path, base.name)] = True
            inputs += add_base(args, base)
    for layer in layers_of(info):
        args.add(layer.digest_file, format = "--layer=%s")
        args.add(layer.blob, format = "--blob=%s")
        inputs += [layer.digest_file, layer.blob]
    return inputs

def _add_tags(args, info):
    if getattr(info, "dynamic_tags", False):
        args.add(info.tags_file, format = "--tags-file=%s")
        return [info.tags_file]
    args.add_all(info.repo_tags, format_each = "--tag=%s")
    return []

def add_base(args, base):
    """Adds the arguments that name a base.

    Args:
      args: Args.
      base: BaseImageInfo or None.

    Returns:
      list of File, the inputs that they need.
    """
    if not base:
        return []
    args.add_all([base.path], format_each = "--base=%s", expand_directories = False)
    if base.name:
        args.add(base.name, format = "--base-name=%s")
    return base.files.to_list()

def images_of(info):
    """The images that an archive or a layout holds.

    Args:
      info: ImageInfo or ImageIndexInfo.

    Returns:
      list of ImageInfo.
    """
    return list(info.images) if hasattr(info, "index") else [info]

def layers_of(info):
    """The layers of all images, each once: those that images have in common are one file.

    Args:
      info: ImageInfo or ImageIndexInfo.

    Returns:
      list of LayerInfo.
    """
    return {layer.blob: layer for image in images_of(info) for layer in image.layers}.values()

def run_image_tool(ctx, args, mnemonic, progress_message, inputs, outputs, requirements):
    """Declares an action of the image tool.

    Args:
      ctx: the rule's context; the rule has the toolchain type IMAGE_TOOLCHAIN_TYPE.
      args: Args.
      mnemonic: string.
      progress_message: string.
      inputs: list of File.
      outputs: list of File.
      requirements: dict, the execution requirements.
    """
    ctx.actions.run(
        executable = ctx.toolchains[IMAGE_TOOLCHAIN_TYPE].tool,
        arguments = [args],
        inputs = inputs,
        outputs = outputs,
        mnemonic = mnemonic,
        progress_message = progress_message,
        execution_requirements = requirements,
        toolchain = IMAGE_TOOLCHAIN_TYPE,
    )
