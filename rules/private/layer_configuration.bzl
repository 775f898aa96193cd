"""The one configuration in which layers, and the store paths in them, are declared.

A layer is a function of its NARs and options. Were it declared in the configuration of whoever needs it, then an
image under `-c opt`, under another platform or below a rule with a transition would each have a layer action of
their own, with other output paths, and so other keys in every cache.
"""

# Bazel names an output directory after the CPU, the compilation mode, and a hash over the options in which a
# configuration differs from the command line's. What stands in the name itself is the same for all once it is set
# here: so compilation_mode may have its usual value, and is in the name as `fastbuild` whatever the command line says.
# What is in the hash alone needs a value that no command line has: it then differs always, and the hash is the same;
# set to its usual default it would be in the hash only for those who change it. What a command line sets and
# what is not listed, such as --define or --action_env, differs in nothing and is in no hash.
#
# Flags that do decide about a layer, compression and nar_fetch, stay as they are. So do those of rules_go, from which
# the layer tool gets its path where it is built from source.
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
