"A configuration that differs in what layers don't depend on."

# A transition of an analysis test's own (`config_settings`) won't do: it always makes configurations of its own.
def _other_configuration_impl(_settings, _attr):
    return {
        "//command_line_option:compilation_mode": "opt",
        "//command_line_option:cpu": "arm64",
        "//command_line_option:platforms": str(Label("//rules/tests:linux_arm64")),
    }

other_configuration = transition(
    implementation = _other_configuration_impl,
    inputs = [],
    outputs = [
        "//command_line_option:compilation_mode",
        "//command_line_option:cpu",
        "//command_line_option:platforms",
    ],
)
