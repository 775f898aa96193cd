"Analysis tests of store_root."

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//rules:store_layer.bzl", "LayerInfo")
load("//rules:store_path.bzl", "StorePathInfo")
load("//rules/private:providers/plan_info.bzl", "PlanInfo")
load("//rules/private:store_root.bzl", "store_root")
load(":failure_test.bzl", "failure_test")
load(":store_path_test.bzl", "TOP")

def _planned_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    asserts.equals(env, TOP, target[StorePathInfo].path)
    asserts.equals(env, "x86_64-linux", target[StorePathInfo].system)
    asserts.equals(env, 3, len(target[StorePathInfo].closure.to_list()))
    asserts.equals(env, "app", target[PlanInfo].root)
    asserts.equals(env, 8, target[PlanInfo].max_layers)
    asserts.equals(env, [layer[LayerInfo].blob for layer in ctx.attr.layers], [layer.blob for layer in target[PlanInfo].layers])
    return analysistest.end(env)

_planned_test = analysistest.make(
    _planned_impl,
    attrs = {"layers": attr.label_list(providers = [LayerInfo])},
)

def store_root_test_suite(name):
    """The tests of this file.

    Args:
      name: string, the suite's name.
    """
    tests = [name + "_planned"]
    _planned_test(
        name = tests[0],
        size = "small",
        layers = [
            ":local_layer",
            ":leaf_layer",
        ],
        target_under_test = ":root",
    )
    for what, layers, want in [
        ("no_plan", [], " is in no layer"),
        ("path_in_no_layer", [":local_layer"], "leaf is in no layer"),
        ("path_in_two_layers", [":local_layer", ":fetching_layer"], "middle is in two layers"),
        ("path_outside", [":local_layer", ":leaf_layer", "@store//layer:jbnpmbz98y0dv8y9g0zqpirbl85a6r7f-motd"], "but not in the closure"),
    ]:
        tests.append(failure_test(
            name = "%s_bad_%s" % (name, what),
            layers = layers,
            max_layers = 64,
            path = ":top",
            root = "app",
            rule = store_root,
            system = "x86_64-linux",
            want = ["the lock's plan for app on x86_64-linux: ", want],
        ))
    native.test_suite(name = name, tests = tests)
