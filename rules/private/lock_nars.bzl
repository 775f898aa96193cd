"Which NAR repositories a lock needs."

load(":lock_file.bzl", "lock_head_error", "nar_error", "nar_repository_name")

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
      lock: what `decode_lock` returned.
      package: string, the lock's package, as `lock_package` returns it.

    Returns:
      dict, sorted, from repository name to the arguments of `nar_repository` (dict); and a string that says what is
      wrong with the lock, so far as it matters here, or None.
    """
    error = lock_head_error(lock)
    if error:
        return None, error
    nars = {}
    for path in sorted(lock["paths"]):
        fields = lock["paths"][path]
        error = nar_error(fields)
        if error:
            return None, "paths: %s: %s" % (path, error)
        file_hash = fields["file_hash"]
        _add(nars, nar_repository_name(file_hash), file_hash[len("sha256:"):], path, fields["url"], package)
    return {name: nars[name] for name in sorted(nars)}, None

def merge_nars(all_nars):
    """Unites what several locks need, so that a NAR that is in two of them is fetched once.

    Args:
      all_nars: list of dicts, as `lock_nars` returns them.

    Returns:
      dict of the same form.
    """
    if len(all_nars) == 1:
        return all_nars[0]
    result = {}
    for nars in all_nars:
        for name, nar in nars.items():
            for url, package in zip(nar["urls"], nar["lock_packages"]):
                _add(result, name, nar["sha256"], nar["store_path"], url, package)
    return {name: result[name] for name in sorted(result)}

def _add(nars, name, sha256, store_path, url, package):
    if not url.startswith("file:") or url.startswith("file:/"):
        package = ""
    nar = nars.get(name)
    if not nar:
        nars[name] = {
            "lock_packages": [package],
            "sha256": sha256,
            "store_path": store_path,
            "urls": [url],
        }
        return
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
