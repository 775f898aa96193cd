"Unit tests of image_settings.bzl."

load("@bazel_skylib//lib:unittest.bzl", "asserts", "unittest")
load("//rules/private:image_settings.bzl", "directory_error", "healthcheck_error", "image_name_error", "port_error", "signal_error", "user_error", "variable_error", "volume_error")
load(":settings_cases.bzl", "SETTINGS_CASES")
load(":unit_tests.bzl", "unit_tests")

_ERRORS = {
    "healthcheck": lambda words: healthcheck_error(words.split(" ")),
    "ports": port_error,
    "repo_tags": image_name_error,
    "stop_signal": signal_error,
    "user": user_error,
    "volumes": volume_error,
    "workdir": directory_error,
}

def _cases_impl(ctx):
    env = unittest.begin(ctx)
    for _, attribute, value, want in json.decode(SETTINGS_CASES):
        asserts.equals(env, want, _ERRORS[attribute](value), "%s: %r" % (attribute, value))
    return unittest.end(env)

_cases_test = unittest.make(_cases_impl)

def _lengths_impl(ctx):
    env = unittest.begin(ctx)
    asserts.equals(env, None, image_name_error("example.org/" + "a" * 255 + ":" + "t" * 128))
    asserts.equals(env, "the repository's name has 256 characters, want at most 255", image_name_error("example.org/" + "a" * 256))
    asserts.equals(env, "the tag has 129 characters, want at most 128", image_name_error("web:" + "t" * 129))
    asserts.equals(env, None, variable_error("PATH"))
    for name in ["", "A=B"]:
        asserts.true(env, variable_error(name), "%r should be refused" % name)
    return unittest.end(env)

_lengths_test = unittest.make(_lengths_impl)

def image_settings_test_suite(name):
    """The tests of this file.

    Args:
      name: string, the suite's name.
    """
    unit_tests(name, {
        "cases": _cases_test,
        "lengths": _lengths_test,
    })
