"""The one configuration in which layers, and the store paths in them, are declared.

A layer is a function of its NARs and options. Were it declared in the configuration of whoever needs it, then an
image under `-c opt`, under another platform or below a rule with a transition would each have a layer action of
their own, with other output paths, and so other keys in every cache.
"""

# Bazel names an output directory after the compilation mode, the CPU, and a hash over the options in which a
# configuration differs from the command line's. So each option below has a value that no command line has: it is
# then always in that hash, and the directory is the same whatever the command line says. (An option that were set to
# its usual default would be in the hash only for those who change it on the command line.) What a command line sets
# and what is not listed, such as --define or --action_env, differs in nothing and is in no hash.
#
# Flags that do decide about a layer, compression and nar_fetch, stay as they are.
_OPTIONS = {
    "//command_line_option:compilation_mode": "fastbuild",
    "//command_line_option:cpu": "strata",
    "//command_line_option:platforms": [str(Label("//rules/private:layer_platform"))],
}

def _layer_configuration_impl(_settings, _attr):
    return _OPTIONS

layer_configuration = transition(
    implementation = _layer_configuration_impl,
    inputs = [],
    outputs = _OPTIONS.keys(),
)
