"What WORKSPACE files call."

load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive")
load("@bazel_tools//tools/build_defs/repo:utils.bzl", "maybe")
load(":hub_repository.bzl", "hub_repository")
load(":store_names.bzl", "repository_name_error")

def strata_repositories():
    """Declares the repositories that the rules load, unless the workspace has them already.

    These are `bazel_skylib`, `platforms`, `io_bazel_rules_go` and `bazel_gazelle`, of the versions in rules_strata's
    MODULE.bazel, and `rules_go`, which is another name for `io_bazel_rules_go`.
    """
    maybe(
        http_archive,
        name = "bazel_skylib",
        integrity = "sha256-bnjw5X3iaAH29WT6fEpI3Is2hz5BYlepK7sJN+6shEY=",
        url = "https://github.com/bazelbuild/bazel-skylib/releases/download/1.8.2/bazel-skylib-1.8.2.tar.gz",
    )
    maybe(
        http_archive,
        name = "platforms",
        integrity = "sha256-KXQuhydYCbXlmNwvBNhpYMx6VbMGfZciHJq7yZJr/w8=",
        url = "https://github.com/bazelbuild/platforms/releases/download/1.0.0/platforms-1.0.0.tar.gz",
    )
    maybe(
        http_archive,
        name = "io_bazel_rules_go",
        integrity = "sha256-htPcj1nSU1JPkzqvLzwFiWywtgX8NbRgwLSwOZlhJMY=",
        url = "https://github.com/bazel-contrib/rules_go/releases/download/v0.60.0/rules_go-v0.60.0.zip",
    )
    maybe(
        http_archive,
        name = "bazel_gazelle",
        integrity = "sha256-Z1EU2LQz0Kn1TYEXGDO+luvEETEVZkt5Hm8gTVjpNEY=",
        url = "https://github.com/bazel-contrib/bazel-gazelle/releases/download/v0.47.0/bazel-gazelle-v0.47.0.tar.gz",
    )
    maybe(
        _rules_go,
        name = "rules_go",
    )

def _rules_go_impl(rctx):
    rctx.file("BUILD.bazel", "", executable = False)
    rctx.file("go/BUILD.bazel", "", executable = False)
    rctx.file("go/config/BUILD.bazel", """\
alias(
    name = "pure",
    actual = "@io_bazel_rules_go//go/config:pure",
    visibility = ["//visibility:public"],
)
""", executable = False)
    rctx.file("go/def.bzl", """\
load("@io_bazel_rules_go//go:def.bzl", _go_binary = "go_binary", _go_library = "go_library", _go_test = "go_test")

go_binary = _go_binary
go_library = _go_library
go_test = _go_test
""", executable = False)

# Without modules rules_go knows itself as io_bazel_rules_go; our BUILD files call it as a module is called.
_rules_go = repository_rule(implementation = _rules_go_impl)

def strata_store(name, lock, mirrors = {}):
    """Declares the repository of a lock, with the same targets as the module extension's.

    The repositories of the lock's NARs are declared by a macro in it, named after it:
    `load("@store//:nars.bzl", "store_nars")`, then `store_nars()`.

    Args:
      name: the repository's name, as `store`.
      lock: label of the lock, as `//:strata.lock.json`. Relative `file:` URLs in it are relative to the directory that it is really in.
      mirrors: dict from a cache's URL to a list of URLs where its files are too: as the extension's tag has it.
    """
    error = repository_name_error(name)
    if error:
        fail("strata_store: name: " + error)
    hub_repository(
        name = name,
        apparent_name = name,
        lock = lock,
        mirrors = mirrors,
        workspace_mode = True,
    )

# buildifier: disable=unnamed-macro
def strata_toolchains():
    """Registers the toolchains that build strata's tools from source. Those registered before come first."""
    native.register_toolchains(str(Label("//rules/toolchain:all")))
