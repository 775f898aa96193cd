"""For WORKSPACE files: what a Bazel 7 workspace without modules declares in place of MODULE.bazel.

```starlark
load("@rules_strata//rules:repositories.bzl", "strata_repositories", "strata_store", "strata_toolchains")

strata_repositories()

# Tools built from source; without these lines, register prebuilt ones (strata_tool_toolchain).
load("@bazel_gazelle//:deps.bzl", "gazelle_dependencies")
load("@io_bazel_rules_go//go:deps.bzl", "go_register_toolchains", "go_rules_dependencies")
load("@rules_strata//rules:go_repositories.bzl", "strata_go_repositories")

strata_go_repositories()

go_rules_dependencies()

go_register_toolchains(version = "1.25.0")

gazelle_dependencies()

strata_toolchains()

# A lock.
strata_store(
    name = "store",
    lock = "//:strata.lock.json",
)

load("@store//:nars.bzl", "store_nars")

store_nars()
```
"""

load(
    "//rules/private:workspace.bzl",
    _strata_repositories = "strata_repositories",
    _strata_store = "strata_store",
    _strata_toolchains = "strata_toolchains",
)

strata_repositories = _strata_repositories
strata_store = _strata_store
strata_toolchains = _strata_toolchains
