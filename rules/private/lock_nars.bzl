"Which NAR repositories a lock needs."

load(":lock_file.bzl", "nar_repository_name")

def lock_package(lock):
    """The package of a lock, which a relative `file:` URL in it starts from.

    Args:
      lock: Label of the lock.

    Returns:
      string, as `@@//examples/web`.
    """
    return str(lock).rpartition(":")[0]

def lock_nars(lock, package):
    """The NAR repositories that a lock needs: one for each file, which several paths may share.

    Args:
      lock: dict, as `decode_lock` returns it.
      package: string, the lock's package, as `lock_package` returns it.

    Returns:
      dict, sorted, from repository name to the arguments of `nar_repository` (dict).
    """
    nars = {}
    for path in sorted(lock["paths"]):
        fields = lock["paths"][path]
        file_hash = fields["file_hash"]
        _add(nars, nar_repository_name(file_hash), file_hash[len("sha256:"):], path, fields["url"], package)
    return {name: nars[name] for name in sorted(nars)}

def merge_nars(all_nars):
    """Unites what several locks need, so that a NAR that is in two of them is fetched once.

    Args:
      all_nars: list of what `lock_nars` returns.

    Returns:
      dict of the same form.
    """
    result = {}
    for nars in all_nars:
        for name, nar in nars.items():
            for url, package in zip(nar["urls"], nar["lock_packages"]):
                _add(result, name, nar["sha256"], nar["store_path"], url, package)
    return {name: result[name] for name in sorted(result)}

def _add(nars, name, sha256, store_path, url, package):
    if not url.startswith("file:") or url.startswith("file:/"):
        package = ""
    nar = nars.setdefault(name, {
        "lock_packages": [],
        "sha256": sha256,
        "store_path": store_path,
        "urls": [],
    })
    if nar["sha256"] != sha256:
        fail("strata: the NARs of %s and %s have FileHashes that begin with the same 32 digits: %s, %s" % (
            nar["store_path"],
            store_path,
            nar["sha256"],
            sha256,
        ))
    if (url, package) not in zip(nar["urls"], nar["lock_packages"]):
        nar["urls"].append(url)
        nar["lock_packages"].append(package)
