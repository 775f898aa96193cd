"A test that a target can't be analysed, and says why."

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")

def _failure_impl(ctx):
    env = analysistest.begin(ctx)
    for want in ctx.attr.want:
        asserts.expect_failure(env, want)
    return analysistest.end(env)

_failure_test = analysistest.make(
    _failure_impl,
    expect_failure = True,
    attrs = {"want": attr.string_list(mandatory = True)},
)

def failure_test(name, rule, want, **kwargs):
    """Declares a target that must fail in analysis, and the test of it.

    Args:
      name: string, the test's name.
      rule: the rule or macro under test.
      want: string, or list of strings, each of which the error must contain.
      **kwargs: the target's attributes.

    Returns:
      string, the test's name.
    """
    rule(
        name = name + "_target",
        tags = ["manual"],
        **kwargs
    )
    _failure_test(
        name = name,
        size = "small",
        target_under_test = name + "_target",
        want = [want] if type(want) == "string" else want,
    )
    return name
