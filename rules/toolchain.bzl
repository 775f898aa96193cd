"`strata_tool_toolchain`: brings prebuilt programs in place of those built from source."

load("//rules/private:tool_toolchain.bzl", _strata_tool_toolchain = "strata_tool_toolchain")

strata_tool_toolchain = _strata_tool_toolchain
