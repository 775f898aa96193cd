"The repository that holds one NAR as a binary cache serves it."

load("@bazel_tools//tools/build_defs/repo:utils.bzl", "get_auth")
load(":lock_file.bzl", "resolve_file_url")

def _nar_repository_impl(rctx):
    urls = []
    for url, folder in zip(rctx.attr.urls, rctx.attr.folders):
        directory = None
        if folder:
            # A file that never is: to name the lock itself would make Bazel fetch each NAR anew when the lock changes.
            # `strata lock` means the real directory, whatever links lead there.
            package, _, way = folder.rpartition(":")
            directory = "%s/%s" % (rctx.path(Label(package + ":strata.no_such_file")).dirname.realpath, way)
        urls.append(resolve_file_url(url, directory))
    result = rctx.download(
        url = urls,
        # As http_archive has it: what $NETRC or ~/.netrc says of the host. Credential helpers come before it.
        auth = get_auth(rctx, urls),
        output = "nar",
        sha256 = rctx.attr.sha256,
        allow_fail = True,
    )
    if not result.success:
        fail("strata: %s: its NAR could not be fetched from %s (FileHash sha256:%s): %s" % (
            rctx.attr.store_path,
            ", ".join(urls),
            rctx.attr.sha256,
            getattr(result, "error", "see above"),
        ))
    rctx.file("BUILD.bazel", 'exports_files(["nar"], visibility = ["//visibility:public"])\n', executable = False)

nar_repository = repository_rule(
    implementation = _nar_repository_impl,
    doc = "One NAR, compressed as the cache has it, pinned by its FileHash: `//:nar`. Fetched when a layer needs it.",
    attrs = {
        "folders": attr.string_list(
            mandatory = True,
            doc = "For each URL the folder that a relative `file:` URL starts from: a package and the way from there, as `@@//images:locks`; empty for other URLs.",
        ),
        "sha256": attr.string(
            mandatory = True,
            doc = "FileHash as 64 hex digits.",
        ),
        "store_path": attr.string(
            mandatory = True,
            doc = "A store path whose NAR this is; for messages.",
        ),
        "urls": attr.string_list(
            mandatory = True,
            doc = "Where the NAR is, tried in order.",
        ),
    },
)
