"The module extension strata."

load(":hub_repository.bzl", "hub_repository")
load(":lock_file.bzl", "decode_lock")
load(":lock_nars.bzl", "lock_folder", "lock_nars", "nar_repositories")
load(":mirrors.bzl", "mirrors_error")
load(":nar_repository.bzl", "nar_repository")
load(":pull_repository.bzl", "pull_repository")
load(":registry_auth.bzl", "is_loopback", "pull_error")
load(":store_names.bzl", "repository_name_error")

def _strata_impl(mctx):
    hubs = {}  # name -> who declared it
    nars = []
    direct = []
    direct_dev = []
    for module in mctx.modules:
        for tag in module.tags.lock:
            who = "module %s" % module.name if module.name else "the root module"
            error = repository_name_error(tag.name)
            if error:
                fail("strata.lock of %s: name: %s" % (who, error))
            if tag.name in hubs:
                fail("strata.lock: %s has a repository named %r, and %s too; choose another `name` for one of them" % (hubs[tag.name], tag.name, who))
            hubs[tag.name] = who
            error = mirrors_error(tag.mirrors)
            if error:
                fail("strata.lock of %s: mirrors: %s" % (who, error))

            path = mctx.path(tag.lock)
            mctx.watch(path)
            if not path.exists:
                fail("strata.lock of %s: lock: %s does not exist; `strata lock` writes it" % (who, tag.lock))

            # Bazel comes here each time it starts: no more is checked than matters here. The lock's repository checks
            # all of it, once.
            needed, error = lock_nars(decode_lock(mctx.read(path)), lock_folder(tag.lock, path), tag.mirrors)
            if error:
                fail("strata: lock %s: %s" % (tag.lock, error))
            nars.append(needed)
            hub_repository(name = tag.name, apparent_name = tag.name, lock = tag.lock, mirrors = tag.mirrors)
            if module.is_root:
                (direct_dev if mctx.is_dev_dependency(tag) else direct).append(tag.name)
        for tag in module.tags.pull:
            who = "module %s" % module.name if module.name else "the root module"
            error = repository_name_error(tag.name)
            if error:
                fail("strata.pull of %s: name: %s" % (who, error))
            if tag.name in hubs:
                fail("strata.pull: %s has a repository named %r, and %s too; choose another `name` for one of them" % (hubs[tag.name], tag.name, who))
            hubs[tag.name] = who
            error = pull_error(tag.registry, tag.repository, tag.digest, tag.platform)
            if error:
                fail("strata.pull of %s: %s" % (who, error))
            pull_repository(
                name = tag.name,
                apparent_name = tag.name,
                digest = tag.digest,
                plain_http = tag.insecure or is_loopback(tag.registry),
                platform = tag.platform,
                registry = tag.registry,
                repository = tag.repository,
                shallow = tag.shallow,
                token_url = tag.token_url,
            )
            if module.is_root:
                (direct_dev if mctx.is_dev_dependency(tag) else direct).append(tag.name)
    for name, attributes in nar_repositories(nars).items():
        nar_repository(name = name, **attributes)
    return mctx.extension_metadata(
        # What is declared follows from the locks alone, which say the hash of all that is fetched: there is nothing
        # to write down in MODULE.bazel.lock.
        reproducible = True,
        root_module_direct_deps = direct,
        root_module_direct_dev_deps = direct_dev,
    )

strata = module_extension(
    implementation = _strata_impl,
    doc = """Declares the repositories of locks.

```starlark
strata = use_extension("@rules_strata//rules:extension.bzl", "strata")
strata.lock(name = "store", lock = "//:strata.lock.json")
use_repo(strata, "store")
```

A lock's repository has

- `@store//:web`: a root by its name, for the system of the target platform: what an image takes as `contents`;
- `@store//x86_64-linux:web`: the same for one system;
- `@store//path:<hash>-<name>`: a `store_path` for each store path;
- `@store//layer:<name>`: a `store_layer` for each planned layer.

Reading a lock downloads nothing. Each NAR is a repository of its own, shared by all locks and pinned by the hash
in the lock, which Bazel fetches when a layer needs it: its repository cache, vendoring, credential helpers, `.netrc` and
downloader configuration work as for any other. With `--@rules_strata//:nar_fetch=action` the layer action fetches
instead, and only if no cache has the layer.

`strata.pull` declares an image of a registry, to build on: `image(base = "@debian", ...)`.

```starlark
strata.pull(
    name = "debian",
    digest = "sha256:...",  # strata pull --resolve debian:12-slim
    platform = "linux/amd64",
    registry = "docker.io",
    repository = "library/debian",
)
use_repo(strata, "debian")
```

`@debian` is an OCI image layout. By default it is shallow: manifest and config are fetched, a few kB, and the layers stay
where they are, which is all that it takes to build on an image and to push it. All is pinned by the digest, so Bazel's repository
cache serves it again without the network. Credentials are those in docker's `config.json` (not its helpers) or the file that
`$REGISTRY_AUTH_FILE` names, else Bazel's credential helpers and the netrc.
""",
    tag_classes = {
        "pull": tag_class(
            doc = "Declares the repository of an image in a registry.",
            attrs = {
                "name": attr.string(
                    mandatory = True,
                    doc = "The repository's name, for `use_repo`. Two modules can't have the same.",
                ),
                "registry": attr.string(
                    default = "docker.io",
                    doc = "The registry's host, with a port if need be.",
                ),
                "repository": attr.string(
                    mandatory = True,
                    doc = "The repository's name in the registry, as `library/debian`.",
                ),
                "digest": attr.string(
                    mandatory = True,
                    doc = "The digest of the image, or of the index that has it, `sha256:<64 hex>`. `strata pull --resolve` prints that of a tag.",
                ),
                "platform": attr.string(
                    doc = "Which image of an index: `linux/amd64`, `linux/arm64/v8`.",
                ),
                "shallow": attr.bool(
                    default = True,
                    doc = "Whether the layers stay where they are. An archive or a layout of an image on this base needs them.",
                ),
                "insecure": attr.bool(
                    doc = "Whether the registry is asked by plain HTTP. With loopback addresses it always is.",
                ),
                "token_url": attr.string(
                    doc = "The token server of a registry that wants tokens and isn't among those known, with its service: `https://auth.example.org/token?service=registry.example.org`. `curl -i https://REGISTRY/v2/` shows both.",
                ),
            },
        ),
        "lock": tag_class(
            doc = "Declares the repository of one lock.",
            attrs = {
                "name": attr.string(
                    default = "store",
                    doc = "The repository's name, for `use_repo`. Two modules can't have the same.",
                ),
                "lock": attr.label(
                    mandatory = True,
                    doc = "The lock, as `strata lock` writes it: `//:strata.lock.json`. Relative `file:` URLs in it are relative to the directory that it is really in.",
                ),
                "mirrors": attr.string_list_dict(
                    doc = "Where else the files of a cache are, under the same relative URLs: `{\"https://cache.nixos.org\": [\"https://mirror.example.org/nix\"]}`. " +
                          "They are tried in order, before the mirrors that the lock itself lists, and before the cache; they change no digest. " +
                          "Relative `file:` URLs are relative to the lock's directory.",
                ),
            },
        ),
    },
)
