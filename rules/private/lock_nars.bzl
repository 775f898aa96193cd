"Which NAR repositories a lock needs."

load(":lock_file.bzl", "lock_head_error", "nar_error", "nar_repository_name")
load(":mirrors.bzl", "join_mirrors", "nar_urls")

def lock_folder(lock, path):
    """The folder of a lock, which a relative `file:` URL in it starts from.

    Args:
      lock: Label of the lock.
      path: path of the lock.

    Returns:
      string, the lock's package and the way from there to the folder that the lock really is in, as `@@//images:locks`,
      `@@//examples/web:` and, where the lock is a symbolic link, `@@//:../other`. No name on this machine is in it, so
      a workspace may move.
    """
    package = path
    for _ in lock.name.split("/"):
        package = package.dirname
    way = relative_path(str(package.realpath), str(path.realpath.dirname))
    return str(lock).rpartition(":")[0] + ":" + way

def relative_path(start, end):
    """The way from one folder to another.

    Args:
      start: string, an absolute path without `.`, `..` and links.
      end: string, another.

    Returns:
      string, as `../b`; empty if they are the same.
    """
    start = [c for c in start.split("/") if c]
    end = [c for c in end.split("/") if c]
    same = 0
    for a, b in zip(start, end):
        if a != b:
            break
        same += 1
    return "/".join([".."] * (len(start) - same) + end[same:])

def lock_nars(lock, folder, mirrors = {}):
    """The NARs that a lock needs: one for each file, which several paths may share.

    Args:
      lock: what `decode_lock` returned.
      folder: string, the lock's folder, as `lock_folder` returns it.
      mirrors: dict from a cache's URL to a list of mirrors that are tried before the lock's.

    Returns:
      dict from repository name to what `nar_repositories` takes; and a string that says what is wrong with the lock, so
      far as it matters here, or None.
    """
    error = lock_head_error(lock)
    if error:
        return None, error
    mirrors = join_mirrors(mirrors, lock.get("mirrors", {}))
    nars = {}
    for path, fields in lock["paths"].items():
        error = nar_error(fields)
        if error:
            return None, "paths: %s: %s" % (path, error)
        urls = nar_urls(fields["url"], mirrors)
        nar = struct(
            sha256 = fields["file_hash"][len("sha256:"):],
            store_path = path,
            mirrors = {(url, _start(url, folder)): None for url in urls[:-1]},
            urls = {(url, _start(url, folder)): None for url in urls[-1:]},
        )
        _add(nars, nar_repository_name(fields["file_hash"]), nar)
    return nars, None

def nar_repositories(all_nars):
    """The NAR repositories that several locks need: a NAR that is in two of them is fetched once.

    Args:
      all_nars: list of dicts, as `lock_nars` returns them.

    Returns:
      dict, sorted, from repository name to the arguments of `nar_repository` (dict).
    """
    nars = {}
    for some in all_nars:
        for name, nar in some.items():
            _add(nars, name, nar)
    repositories = {}
    for name in sorted(nars):
        nar = nars[name]
        urls = nar.mirrors | nar.urls  # mirrors first, whichever lock has them
        repositories[name] = {
            "folders": [folder for _, folder in urls],
            "sha256": nar.sha256,
            "store_path": nar.store_path,
            "urls": [url for url, _ in urls],
        }
    return repositories

def _start(url, folder):
    "The folder that a URL is relative to, or the empty string."
    return folder if url.startswith("file:") and not url.startswith("file:/") else ""

def _add(nars, name, nar):
    known = nars.get(name)
    if not known:
        nars[name] = nar
        return
    if known.sha256 != nar.sha256:
        fail("strata: the NARs of %s and %s have FileHashes that begin with the same 32 digits: %s, %s" % (
            known.store_path,
            nar.store_path,
            known.sha256,
            nar.sha256,
        ))
    nars[name] = struct(
        sha256 = known.sha256,
        store_path = known.store_path,
        mirrors = known.mirrors | nar.mirrors,
        urls = known.urls | nar.urls,
    )
