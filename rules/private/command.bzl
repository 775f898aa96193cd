"An executable that is the command strata with arguments: no script, so that nothing is needed to run it."

load(":image_parts.bzl", "rlocation")

STRATA_TOOLCHAIN_TYPE = Label("//rules/toolchain:strata_toolchain_type")

def strata_command(ctx, args, files):
    """Declares the executable of a rule that `bazel run` starts.

    It is a link to the command, and beside it there is a file with its first arguments (tool/cmd/strata, launch.go).

    Args:
      ctx: rule context.
      args: list of strings and Files; for a File, the command gets its path in the runfiles.
      files: list of Files that the command reads.

    Returns:
      DefaultInfo.
    """
    tool = ctx.toolchains[STRATA_TOOLCHAIN_TYPE].tool
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = executable, target_file = tool.executable, is_executable = True)
    arguments = ctx.actions.declare_file(ctx.label.name + ".strata-args")
    ctx.actions.write(arguments, "".join([
        (a if type(a) == "string" else "${RUNFILES}/" + rlocation(ctx, a)) + "\n"
        for a in args
    ]))
    return DefaultInfo(
        executable = executable,
        files = depset([executable, arguments]),
        runfiles = ctx.runfiles([executable, arguments] + files + [a for a in args if type(a) != "string"]),
    )
