"The repository of a lock: `@store//:web`, `@store//path:...`, `@store//layer:...`."

load(":hub_files.bzl", "hub_files", "nars_file")
load(":lock_file.bzl", "decode_lock", "lock_error")
load(":lock_nars.bzl", "lock_nars", "lock_package")

def _hub_repository_impl(rctx):
    lock = decode_lock(rctx.read(rctx.attr.lock))
    error = lock_error(lock)
    if error:
        fail("strata: lock %s: %s" % (rctx.attr.lock, error))
    hub = rctx.attr.apparent_name
    for name, text in hub_files(hub, lock).items():
        rctx.file(name, text, executable = False)
    if rctx.attr.workspace_mode:
        nars, _ = lock_nars(lock, lock_package(rctx.attr.lock))
        rctx.file("nars.bzl", nars_file(hub, nars), executable = False)

hub_repository = repository_rule(
    implementation = _hub_repository_impl,
    doc = "The store paths, planned layers and roots of one lock. It downloads nothing.",
    attrs = {
        "apparent_name": attr.string(
            mandatory = True,
            doc = "What its user calls the repository: `store`.",
        ),
        "lock": attr.label(
            mandatory = True,
            doc = "The lock, as `strata lock` writes it.",
        ),
        "workspace_mode": attr.bool(
            doc = "Whether to write `nars.bzl`, by which a WORKSPACE file declares the NARs' repositories.",
        ),
    },
)
