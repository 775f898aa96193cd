"The rule store_path."

load(":layer_configuration.bzl", "layer_configuration")
load(":providers/store_path_info.bzl", "StorePathInfo", "store_path_info")
load(":store_names.bzl", "NAR_COMPRESSIONS", "nar_size_error", "nar_url_error", "sha256_error", "store_path_error")

def _store_path_impl(ctx):
    _check(store_path_error(ctx.attr.path), "path")
    _check(sha256_error(ctx.attr.nar_hash), "nar_hash")
    _check(nar_size_error(ctx.attr.nar_size), "nar_size")
    if ctx.attr.file_hash:
        _check(sha256_error(ctx.attr.file_hash), "file_hash")
    if ctx.attr.file_size:
        _check(nar_size_error(ctx.attr.file_size), "file_size")
    if not ctx.file.nar and not ctx.attr.urls:
        fail("nar: %s has neither a NAR nor a URL to fetch it from" % ctx.attr.path)
    for url in ctx.attr.urls:
        if not url.startswith("https://") and not url.startswith("http://"):
            fail("urls: %s: want http:// or https://; a file goes into `nar`" % url)
        _check(nar_url_error(url), "urls")
    if ctx.attr.urls and not ctx.attr.file_hash:
        fail("file_hash: %s is fetched from a URL, so the hash of what comes back must be known" % ctx.attr.path)

    references = [d[StorePathInfo].path for d in ctx.attr.references]
    if ctx.attr.self_reference:
        references.append(ctx.attr.path)

    entry = struct(
        label = ctx.label,
        path = ctx.attr.path,
        nar = ctx.file.nar,
        nar_hash = ctx.attr.nar_hash,
        nar_size = ctx.attr.nar_size,
        compression = ctx.attr.compression,
        urls = tuple(ctx.attr.urls),
        file_hash = ctx.attr.file_hash or None,
        file_size = ctx.attr.file_size or None,
        references = tuple(sorted(references)),
        signatures = tuple(ctx.attr.signatures),
        content_address = ctx.attr.content_address or None,
    )
    return [
        DefaultInfo(files = depset([ctx.file.nar] if ctx.file.nar else [])),
        store_path_info(
            entry = entry,
            system = ctx.attr.system or None,
            closure = depset([entry], transitive = [d[StorePathInfo].closure for d in ctx.attr.references]),
        ),
    ]

def _check(error, attribute):
    if error:
        fail("%s: %s" % (attribute, error))

store_path = rule(
    implementation = _store_path_impl,
    doc = """Declares one store path by its NAR.

A lock's repository has one for each path (`@store//path:xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15`). Declare one
by hand for a NAR that is in the workspace, or that another rule makes:

```starlark
store_path(
    name = "motd",
    nar = "motd.nar.xz",
    compression = "xz",
    nar_hash = "sha256:c9f0e2f1...",
    nar_size = "168",
    path = "/nix/store/jbnpmbz98y0dv8y9g0zqpirbl85a6r7f-motd",
)
```

The default output is the NAR, if there is one. No action runs: the layer that the path gets into checks the bytes.
""",
    attrs = {
        "path": attr.string(
            mandatory = True,
            doc = "The store path: `/nix/store/<32 characters of hash>-<name>`, or the same below another store directory.",
        ),
        "nar": attr.label(
            allow_single_file = True,
            doc = "The NAR, compressed as `compression` says. May be left out where there are `urls`.",
        ),
        "nar_hash": attr.string(
            mandatory = True,
            doc = "SHA-256 of the uncompressed NAR, as `sha256:<64 hex digits>` (`nix hash to-base16` writes the digits).",
        ),
        "nar_size": attr.string(
            mandatory = True,
            doc = "Size of the uncompressed NAR in bytes, as narinfo's `NarSize`. A string, since Bazel's integers end at 2^31.",
        ),
        "compression": attr.string(
            default = "none",
            values = NAR_COMPRESSIONS,
            doc = "How the NAR is compressed: `none`, `xz`, `zstd`, `gzip`, `bzip2`, `br`, `lzip` or `lz4`, as narinfo's `Compression`.",
        ),
        "urls": attr.string_list(
            doc = "Where the layer action may fetch the NAR, tried in order; `http:` or `https:`. Used only where `nar` is not set.",
        ),
        "file_hash": attr.string(
            doc = "SHA-256 of the NAR as stored (compressed), as `sha256:<64 hex digits>`. Mandatory with `urls`.",
        ),
        "file_size": attr.string(
            doc = "Size in bytes of the NAR as stored, if known: a download that is longer is cut off there.",
        ),
        "references": attr.label_list(
            providers = [StorePathInfo],
            doc = "The `store_path`s that this one refers to, as narinfo's `References`, itself aside.",
        ),
        "self_reference": attr.bool(
            doc = "Whether the path refers to itself, as most with an own directory for libraries do.",
        ),
        "signatures": attr.string_list(
            doc = "Signatures of Nix' kind, as narinfo's `Sig`: `cache.nixos.org-1:...`. What vouches for the path was checked when it was locked; these go into a `nix_database`.",
        ),
        "content_address": attr.string(
            doc = "The content address, as narinfo's `CA`, if there is one; goes into a `nix_database`.",
        ),
        "system": attr.string(
            doc = "The system that the path was built for, as `x86_64-linux`. An image takes its platform from it.",
        ),
    },
    provides = [StorePathInfo],
    # With the layers' configuration a path is analysed once, whatever the images are built for.
    cfg = layer_configuration,
)
