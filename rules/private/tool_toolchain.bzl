"The rule strata_tool_toolchain."

def _strata_tool_toolchain_impl(ctx):
    return [platform_common.ToolchainInfo(tool = ctx.attr.tool[DefaultInfo].files_to_run)]

strata_tool_toolchain = rule(
    implementation = _strata_tool_toolchain_impl,
    doc = """Brings a program as one of strata's own.

By default they are built from source by rules_go. To use prebuilt ones, so that no Go is compiled nor even
analysed, declare a toolchain for each and register them in your MODULE.bazel:

```starlark
load("@rules_strata//rules:toolchain.bzl", "strata_tool_toolchain")

strata_tool_toolchain(
    name = "layer_linux_amd64",
    tool = "@strata_layer_linux_amd64//file",
)

toolchain(
    name = "layer_linux_amd64_toolchain",
    exec_compatible_with = [
        "@platforms//cpu:x86_64",
        "@platforms//os:linux",
    ],
    toolchain = ":layer_linux_amd64",
    toolchain_type = "@rules_strata//rules/toolchain:layer_toolchain_type",
)
```

Leave `target_compatible_with` empty: a layer is the same for all targets.

| toolchain type | program |
|---|---|
| `@rules_strata//rules/toolchain:layer_toolchain_type` | `tool/cmd/layer` |
| `@rules_strata//rules/toolchain:files_toolchain_type` | `tool/cmd/files` |
| `@rules_strata//rules/toolchain:database_toolchain_type` | `tool/cmd/database` |
| `@rules_strata//rules/toolchain:run_toolchain_type` | `tool/cmd/run` |
| `@rules_strata//rules/toolchain:image_toolchain_type` | `tool/cmd/image` |
| `@rules_strata//rules/toolchain:strata_toolchain_type` | `tool/cmd/strata` |
""",
    attrs = {
        "tool": attr.label(
            mandatory = True,
            allow_files = True,
            executable = True,
            cfg = "exec",
            doc = "The program, of the same release as the rules.",
        ),
    },
)
