"A directory that an action makes."

def _directory_impl(ctx):
    directory = ctx.actions.declare_directory(ctx.label.name + ".dir")
    args = ctx.actions.args()
    args.add_all([directory], expand_directories = False)
    ctx.actions.run_shell(
        command = "mkdir -p \"$1/a/b\" && echo deep > \"$1/a/b/file\" && echo old > \"$1/a/old.bak\"",
        arguments = [args],
        outputs = [directory],
    )
    return [DefaultInfo(
        files = depset([directory]),
        runfiles = ctx.runfiles([directory]),
    )]

directory = rule(
    implementation = _directory_impl,
    doc = "Makes a directory with two files.",
)
