"Runfiles that are no files of the build."

def _links_impl(ctx):
    link = ctx.actions.declare_symlink(ctx.label.name + ".link")
    ctx.actions.symlink(output = link, target_path = "data/with space.txt")
    return [DefaultInfo(runfiles = ctx.runfiles(
        files = [link],
        symlinks = {
            "renamed/file": ctx.file.file,
            "renamed/tree": ctx.file.directory,
        },
        root_symlinks = {
            "at_root/file": ctx.file.file,
            "at_root/tree": ctx.file.directory,
        },
    ))]

links = rule(
    implementation = _links_impl,
    doc = "Has runfiles of each kind: a symlink as an action makes it, and what runfiles call symlinks, in the workspace's directory and beside it.",
    attrs = {
        "directory": attr.label(mandatory = True, allow_single_file = True),
        "file": attr.label(mandatory = True, allow_single_file = True),
    },
)
