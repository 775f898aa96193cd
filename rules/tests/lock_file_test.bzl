"Unit tests of lock_file.bzl and lock_nars.bzl: what a lock says, and what is wrong with one."

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//rules/private:lock_file.bzl", "decode_lock", "fetched_in_action", "lock_error", "nar_repository_name", "resolve_file_url")
load("//rules/private:lock_nars.bzl", "lock_nars", "nar_repositories", "relative_path")
load("//rules/private:mirrors.bzl", "join_mirrors", "mirrors_error", "nar_urls")
load(":lock_cases.bzl", "A", "B", "LOCK", "LOCK_BAD", "LOCK_GOOD")
load(":unit_tests.bzl", "unit_tests")

def _hash(digit):
    return "sha256:" + digit * 64

def lock_of_two_paths():
    """A small lock, as json.decode would return it: b refers to a and to itself, and is the root.

    Returns:
      A dict, new each time.
    """
    return json.decode(LOCK)

def _good_impl(ctx):
    env = unittest.begin(ctx)
    lock = decode_lock(json.encode(lock_of_two_paths()))
    asserts.equals(env, lock_of_two_paths(), lock)
    asserts.equals(env, 5000000000, lock["paths"]["/nix/store/" + A]["nar_size"])
    asserts.equals(env, None, lock_error(lock))
    for compression in ["none", "xz", "zstd", "gzip", "bzip2", "br", "lzip", "lz4"]:
        lock["paths"]["/nix/store/" + A]["compression"] = compression
        asserts.equals(env, None, lock_error(lock))
    for voucher in ["signature", "signed_by", "content_addressed"]:
        fields = lock["paths"]["/nix/store/" + A]
        fields.pop("signed_by", None)
        asserts.equals(env, None, lock_error(_changed(["paths", "/nix/store/" + A, voucher], "x", lock)))
    asserts.equals(env, None, lock_error(_changed(["paths", "/nix/store/" + A, "allowed_unsigned_by"], "file:cache", lock)))
    return unittest.end(env)

_good_test = unittest.make(_good_impl)

# How to break the lock, and what its error must say. A change is the path of keys to a value and the new value; no
# value removes the key.
_FAULTS = [
    (["version"], 2, "version: 2"),
    (["version"], "1", "version: \"1\""),
    (["version"], None, "version: None"),
    (["paths"], [], "paths: want an object"),
    (["roots"], None, "roots: want an object"),
    (["paths", "/nix/store/" + A], "x", "paths: /nix/store/%s: want an object" % A),
    (["paths", "/nix/store/nothing"], {}, "paths: /nix/store/nothing: "),
    (["paths", "/gnu/store/" + A], lock_of_two_paths()["paths"]["/nix/store/" + A], "one store directory"),
    (["paths", "/nix/store/" + A], None, "paths: /nix/store/%s: references: \"%s\" is not in the lock" % (B, A)),
    (["paths", "/nix/store/" + A, "nar_hash"], "sha256:abc", "paths: /nix/store/%s: nar_hash: \"sha256:abc\"" % A),
    (["paths", "/nix/store/" + A, "file_hash"], None, "paths: /nix/store/%s: want an object with file_hash and url" % A),
    (["paths", "/nix/store/" + A, "nar_size"], -1, "paths: /nix/store/%s: nar_size: -1" % A),
    (["paths", "/nix/store/" + A, "nar_size"], "96", "nar_size: \"96\": want a number"),
    (["paths", "/nix/store/" + A, "nar_size"], 1.5, "nar_size: 1.5"),
    (["paths", "/nix/store/" + A, "nar_size"], 1 << 70, "nar_size: "),
    (["paths", "/nix/store/" + A, "file_size"], None, "file_size: None"),
    (["paths", "/nix/store/" + A, "compression"], "", "compression: \"\" is not known; known are br, bzip2"),
    (["paths", "/nix/store/" + A, "compression"], None, "compression: None is not known"),
    (["paths", "/nix/store/" + A, "compression"], ["xz"], "compression: [\"xz\"] is not known"),
    (["paths", "/nix/store/" + A, "compression"], "xz\"", "compression: \"xz\\\"\" is not known"),
    (["paths", "/nix/store\"/" + A], {}, "paths: /nix/store\"/%s: \"/nix/store\\\"/%s\" is no store path: want a directory of" % (A, A)),
    (["paths", "/nix/st\nore/" + A], {}, "want a directory of letters"),
    (["paths", "/nix/st\\ore/" + A], {}, "want a directory of letters"),
    (["paths", "/nix/st%core/" + A], {}, "want a directory of letters"),
    (["paths", "/nix/store/" + A, "file_hash"], "sha256:" + "\"" * 64, "file_hash: "),
    (["paths", "/nix/store/" + A, "nar_hash"], "sha256:" + "\n" * 64, "nar_hash: "),
    (["paths", "/nix/store/" + A, "url"], "https://cache.example.org/\"", "is percent-encoded"),
    (["paths", "/nix/store/" + A, "url"], "https://cache.example.org/\n--output=x", "is percent-encoded"),
    (["paths", "/nix/store/" + A, "url"], "https://cache.example.org/a\\b", "is percent-encoded"),
    (["paths", "/nix/store/" + A, "url"], "https://cache.example.org/a b", "is percent-encoded"),
    (["paths", "/nix/store/" + A, "url"], "file:ä", "is percent-encoded"),
    (["paths", "/nix/store/" + A, "url"], "https://me:hunter2@cache.example.org/a", "url: a URL with user or password for cache.example.org; credentials belong into ~/.netrc"),
    (["paths", "/nix/store/" + A, "url"], "https://hunter2@cache.example.org", "credentials belong"),
    (["paths", "/nix/store/" + A, "url"], "https://me:hunter2@cache.example.org?x", "credentials belong"),
    (["paths", "/nix/store/" + A, "url"], "nar/a.nar.xz", "url: \"nar/a.nar.xz\""),
    (["paths", "/nix/store/" + A, "url"], "ftp://x/a.nar", "url: \"ftp://x/a.nar\""),
    (["paths", "/nix/store/" + A, "url"], "https:a.nar", "url: \"https:a.nar\""),
    (["paths", "/nix/store/" + A, "references"], A, "references: want a list"),
    (["roots", "app"], "/nix/store/" + B, "roots: app: want an object"),
    (["paths", "/nix/store/" + A, "references"], [[]], "references: [] is not in the lock"),
    (["roots", "app", "x86_64-linux"], {}, "roots: app: x86_64-linux: {} is not in the lock"),
    (["plan", "layers", A], [{}], "{} is not in the lock"),
    (["roots", "app"], {}, "roots: app: want an object"),
    (["roots", "app", "x86_64-linux"], "/nix/store/" + B + "c", "roots: app: x86_64-linux: "),
    (["roots", "app", "x86_64-linux"], B, "roots: app: x86_64-linux: "),
    (["roots", "app", "x86_64 linux"], "/nix/store/" + B, "roots: app: \"x86_64 linux\" is no system"),
    (["roots", "app", "path"], "/nix/store/" + B, "roots: app: \"path\" is no system"),
    (["roots", "app", "aarch64-darwin"], "/nix/store/" + B, "roots: app: \"aarch64-darwin\" is no system that images can be made for; known are aarch64-linux"),
    (["roots", "app"], {"armhf-linux": "/nix/store/" + B, "armv7l-linux": "/nix/store/" + B}, "roots: app: armhf-linux and armv7l-linux are the same platform"),
    (["roots", "path"], {}, "roots: \"path\": a lock's repository has something else of that name"),
    (["roots", "web\""], {}, "roots: \"web\\\"\": want a name"),
    (["roots", "a/b"], {}, "roots: \"a/b\""),
    (["roots", "a:b"], {}, "roots: \"a:b\""),
    (["roots", ".."], {}, "roots: \"..\""),
    (["mirrors"], [], "mirrors: want an object with a list of mirrors for each cache"),
    (["mirrors"], {"cache.example.org": ["https://mirror.example.org"]}, "mirrors: \"cache.example.org\": want a URL"),
    (["mirrors"], {"https://cache.example.org": "https://mirror.example.org"}, "mirrors: https://cache.example.org: want a list of URLs"),
    (["mirrors"], {"https://cache.example.org": []}, "mirrors: https://cache.example.org: want a list of URLs"),
    (["mirrors"], {"https://cache.example.org": [1]}, "mirrors: https://cache.example.org: want a string"),
    (["mirrors"], {"https://cache.example.org": ["https://me:hunter2@mirror.example.org"]}, "mirrors: https://cache.example.org: a URL with user or password for mirror.example.org"),
    (["plan"], [], "plan: want an object"),
    (["plan"], None, "plan: want an object"),
    (["plan", "max_layers"], None, "plan: max_layers: None: want 1 to 125"),
    (["plan", "max_layers"], 0, "plan: max_layers: 0: want 1 to 125"),
    (["plan", "max_layers"], 126, "plan: max_layers: 126: want 1 to 125"),
    (["plan", "max_layers"], "64", "plan: max_layers: \"64\": want"),
    (["plan", "max_layers"], 1, "plan: images: app: x86_64-linux: want at most max_layers = 1 layers, found 2"),
    (["plan", "layers"], None, "plan: layers: want an object"),
    (["plan", "images"], None, "plan: images: want an object"),
    (["plan", "images", "app"], None, "plan: images: app: x86_64-linux: want a list"),
    (["plan", "images", "app", "x86_64-linux"], None, "plan: images: app: x86_64-linux: want a list"),
    (["plan", "layers", "a\nb"], [A], "plan: layers: \"a\\nb\""),
    (["plan", "layers", "a\""], [A], "plan: layers: \"a\\\"\""),
    (["plan", "layers"], [], "plan: layers: want an object"),
    (["plan", "layers", A], [], "plan: layers: %s: want a list" % A),
    (["plan", "layers", A], [A, A], "plan: layers: %s: \"%s\" is there twice" % (A, A)),
    (["plan", "layers", A], ["c"], "plan: layers: %s: \"c\" is not in the lock" % A),
    (["plan", "layers", "a b"], [A], "plan: layers: \"a b\""),
    (["plan", "layers", A], None, "plan: images: app: x86_64-linux: \"%s\" is no layer" % A),
    (["plan", "images", "app", "x86_64-linux"], [A, A], "\"%s\" is there twice" % A),
    (["plan", "images", "app", "x86_64-linux"], [], "plan: images: app: x86_64-linux: want a list"),
    (["plan", "images", "app", "i686-linux"], [A], "plan: images: app: i686-linux: "),
    (["plan", "images", "other"], {}, "plan: images: other: "),
]

def _changed(keys, value, lock = None):
    "A lock, by default the one of two paths, with one value changed; None removes it."
    lock = decode_lock(json.encode(lock or lock_of_two_paths()))
    at = lock
    for key in keys[:-1]:
        at = at[key]
    if value == None:
        at.pop(keys[-1])
    else:
        at[keys[-1]] = value
    return lock

def _faults_impl(ctx):
    env = unittest.begin(ctx)
    for keys, value, want in _FAULTS:
        error = lock_error(_changed(keys, value))
        asserts.true(env, error and want in error, "%s = %r: want an error with %r, got %r" % ("/".join(keys), value, want, error))
        asserts.false(env, "hunter2" in (error or ""), "a password is shown: %s" % error)
    for text in ["", "[]", "null", "{", "<<<<<<< HEAD\n{}", "{\"version\": 1} x"]:
        error = lock_error(decode_lock(text))
        asserts.true(env, error and "not a JSON object" in error, "%r: got %r" % (text, error))
    return unittest.end(env)

_faults_test = unittest.make(_faults_impl)

def _cases_impl(ctx):
    env = unittest.begin(ctx)
    for keys, value in json.decode(LOCK_GOOD):
        asserts.equals(env, None, lock_error(_changed(keys, value)), "%s = %r" % ("/".join(keys), value))
    for keys, value in json.decode(LOCK_BAD):
        asserts.true(env, lock_error(_changed(keys, value)), "%s = %r: want an error" % ("/".join(keys), value))
    return unittest.end(env)

_cases_test = unittest.make(_cases_impl)

def _nars_impl(ctx):
    env = unittest.begin(ctx)
    first = lock_of_two_paths()
    nars, error = lock_nars(first, "@@//app:locks")
    asserts.equals(env, None, error)
    name_a = "strata_nar_" + "1" * 32
    name_b = "strata_nar_" + "3" * 32
    asserts.equals(env, name_a, nar_repository_name(_hash("1")))
    repositories = nar_repositories([nars])
    asserts.equals(env, [name_a, name_b], repositories.keys())
    asserts.equals(env, {
        "folders": ["@@//app:locks"],
        "sha256": "3" * 64,
        "store_path": "/nix/store/" + B,
        "urls": ["file:cache/nar/b.nar"],
    }, repositories[name_b])
    asserts.equals(env, [""], repositories[name_a]["folders"])

    # Two paths with the same file share its repository.
    twins = lock_of_two_paths()
    twins["paths"]["/nix/store/" + A] = dict(twins["paths"]["/nix/store/" + B], references = [])
    asserts.equals(env, [name_b], lock_nars(twins, "@@//app:locks")[0].keys())

    # So do two locks; each place to get it from is kept once, and mirrors come first.
    second = lock_of_two_paths()
    second["paths"]["/nix/store/" + A]["url"] = "https://other.example.org/nar/a.nar.xz"
    second["mirrors"] = {"https://other.example.org": ["https://mirror.example.org/2"]}
    other, error = lock_nars(second, "@@//other:", {
        "file:cache": ["file:copy", "file:///srv"],
        "https://other.example.org/": ["https://mirror.example.org/1/"],
    })
    asserts.equals(env, None, error)
    merged = nar_repositories([nars, other])
    asserts.equals(env, [name_a, name_b], merged.keys())
    asserts.equals(env, [
        "https://mirror.example.org/1/nar/a.nar.xz",
        "https://mirror.example.org/2/nar/a.nar.xz",
        "https://cache.example.org/nar/a.nar.xz",
        "https://other.example.org/nar/a.nar.xz",
    ], merged[name_a]["urls"])
    asserts.equals(env, [
        ("file:copy/nar/b.nar", "@@//other:"),
        ("file:///srv/nar/b.nar", ""),
        ("file:cache/nar/b.nar", "@@//app:locks"),
        ("file:cache/nar/b.nar", "@@//other:"),
    ], zip(merged[name_b]["urls"], merged[name_b]["folders"]), "a relative URL is relative to its own lock")
    asserts.equals(env, merged, nar_repositories([nars, other, nars]), "nothing is added twice")

    # A lock that is no lock, or that does not say where a NAR is.
    asserts.equals(env, "version: 2", lock_nars(dict(lock_of_two_paths(), version = 2), "@@//app:locks")[1].partition(": this")[0])
    second["paths"]["/nix/store/" + B].pop("url")
    asserts.true(env, lock_nars(second, "@@//app:locks")[1].startswith("paths: /nix/store/%s: " % B))
    return unittest.end(env)

_nars_test = unittest.make(_nars_impl)

def _mirrors_impl(ctx):
    env = unittest.begin(ctx)
    asserts.equals(env, None, mirrors_error({}))
    asserts.equals(env, None, mirrors_error({"https://a.example.org": ["https://b.example.org/nix", "file:../copy"]}))
    mirrors = join_mirrors(
        {"https://a.example.org": ["https://b.example.org"]},
        {
            "https://a.example.org/": ["https://c.example.org/x/", "https://b.example.org/", "https://a.example.org"],
            "https://a.example.org/sub": ["https://d.example.org"],
        },
    )
    for url, want in {
        "https://a.example.org/nar/x.nar": ["https://b.example.org/nar/x.nar", "https://c.example.org/x/nar/x.nar"],
        # A cache below another one.
        "https://a.example.org/sub/x.nar": ["https://b.example.org/sub/x.nar", "https://c.example.org/x/sub/x.nar", "https://d.example.org/x.nar"],
        # Other hosts, though their names begin alike.
        "https://a.example.org.evil.example/x.nar": [],
        "https://a.example.orgx/x.nar": [],
        "https://b.example.org/x.nar": [],
    }.items():
        asserts.equals(env, want + [url], nar_urls(url, mirrors))
    return unittest.end(env)

_mirrors_test = unittest.make(_mirrors_impl)

def _urls_impl(ctx):
    env = unittest.begin(ctx)
    for url, want in {
        "file:../../testdata/cache/nar/x.nar.zst": "file:///home/me/testdata/cache/nar/x.nar.zst",
        "file:./cache/./x.nar": "file:///home/me/my%20app/web/cache/x.nar",
        "file:with%20space/x.nar": "file:///home/me/my%20app/web/with%20space/x.nar",
        "file:/srv/cache/x.nar": "file:///srv/cache/x.nar",
        "file:///srv/cache/x.nar": "file:///srv/cache/x.nar",
        "https://cache.example.org/x.nar": "https://cache.example.org/x.nar",
    }.items():
        asserts.equals(env, want, resolve_file_url(url, "/home/me/my app/web"))
    asserts.equals(env, "file:///a%2520%23b/x", resolve_file_url("file:x", "/a%20#b"))
    asserts.equals(env, "file:///home/x", resolve_file_url("file:x", "/home/me/../"))
    for end, want in {
        "/": "../..",
        "/srv/locks": "../../srv/locks",
        "/work": "..",
        "/work/app": "",
        "/work/app/locks/a": "locks/a",
        "/work/application": "../application",
    }.items():
        asserts.equals(env, want, relative_path("/work/app", end), end)
    asserts.true(env, fetched_in_action(["http://mirror.example.org/x.nar", "https://cache.example.org/x.nar"]))
    for url in ["file:x.nar", "file:///x.nar"]:
        asserts.false(env, fetched_in_action([url]))
        asserts.false(env, fetched_in_action([url, "https://cache.example.org/x.nar"]))
    return unittest.end(env)

_urls_test = unittest.make(_urls_impl)

def lock_file_test_suite(name):
    """The tests of this file.

    Args:
      name: string, the suite's name.
    """
    unit_tests(name, {
        "cases": _cases_test,
        "good": _good_test,
        "faults": _faults_test,
        "mirrors": _mirrors_test,
        "nars": _nars_test,
        "urls": _urls_test,
    })
