"The repository of a lock: `@store//:web`, `@store//path:...`, `@store//layer:...`."

load(":hub_files.bzl", "hub_files", "nars_file")
load(":lock_file.bzl", "decode_lock", "lock_error")
load(":lock_nars.bzl", "lock_folder", "lock_nars", "nar_repositories")
load(":mirrors.bzl", "mirrors_error")

def _hub_repository_impl(rctx):
    error = mirrors_error(rctx.attr.mirrors)
    if error:
        fail("strata: %s: mirrors: %s" % (rctx.attr.apparent_name, error))
    lock = decode_lock(rctx.read(rctx.attr.lock))
    error = lock_error(lock)
    if error:
        fail("strata: lock %s: %s" % (rctx.attr.lock, error))
    hub = rctx.attr.apparent_name
    for name, text in hub_files(hub, lock, rctx.attr.mirrors).items():
        rctx.file(name, text, executable = False)
    if rctx.attr.workspace_mode:
        nars, _ = lock_nars(lock, lock_folder(rctx.attr.lock, rctx.path(rctx.attr.lock)), rctx.attr.mirrors)
        rctx.file("nars.bzl", nars_file(hub, nar_repositories([nars])), executable = False)

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
        "mirrors": attr.string_list_dict(
            doc = "For a cache's URL those of its mirrors, tried before the lock's.",
        ),
        "workspace_mode": attr.bool(
            doc = "Whether to write `nars.bzl`, by which a WORKSPACE file declares the NARs' repositories.",
        ),
    },
)
