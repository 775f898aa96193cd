"Mirrors: where else a cache's files are, under the same relative URLs."

load(":store_names.bzl", "nar_url_error")

def mirrors_error(mirrors):
    """Says what is wrong with what a lock or the extension says of mirrors.

    Args:
      mirrors: what should be a dict from a cache's URL to a list of its mirrors' URLs.

    Returns:
      string that names the cache, or None if nothing is.
    """
    if type(mirrors) != "dict":
        return "want an object with a list of mirrors for each cache"
    for cache, urls in mirrors.items():
        error = nar_url_error(cache)
        if error:
            return error
        if type(urls) != "list" or not urls:
            return "%s: want a list of URLs that is not empty" % cache
        for url in urls:
            error = nar_url_error(url) if type(url) == "string" else "want a string"
            if error:
                return "%s: %s" % (cache, error)
    return None

def join_mirrors(first, second):
    """Unites mirrors.

    Args:
      first: dict from a cache's URL to a list of its mirrors' URLs: those that are tried first.
      second: dict of the same form.

    Returns:
      dict from a prefix of URLs, which is the cache's with a slash, to a list of prefixes in its place.
    """
    joined = {}
    for mirrors in [first, second]:
        for cache, urls in mirrors.items():
            joined.setdefault(_prefix(cache), []).extend([_prefix(url) for url in urls])
    return joined

def nar_urls(url, mirrors):
    """Where a NAR is.

    Args:
      url: string, its URL in the lock.
      mirrors: dict, as `join_mirrors` returns it.

    Returns:
      list of URLs, in the order in which they are to be tried: the mirrors' and then `url` itself, each once.
    """
    if not mirrors:
        return [url]
    urls = {}
    for cache, prefixes in mirrors.items():
        if url.startswith(cache):
            for prefix in prefixes:
                urls[prefix + url[len(cache):]] = None
    urls.pop(url, None)
    return urls.keys() + [url]

def _prefix(url):
    return url.rstrip("/") + "/"
