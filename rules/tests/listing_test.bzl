"Compares what is in a layer with a listing in the source tree."

load("@bazel_skylib//rules:diff_test.bzl", "diff_test")

def listing_test(name, layer, golden):
    """Declares the test; when it fails it says how the listing is written anew.

    Args:
      name: string, the test's name.
      layer: string, a layer of the package that has `mtree = True`.
      golden: string, the listing's file in the package.
    """
    native.filegroup(
        name = name + "_mtree",
        testonly = True,
        srcs = [layer],
        output_group = "mtree",
    )
    package = native.package_name()
    diff_test(
        name = name,
        size = "small",
        failure_message = "To write the listing anew: bazel build --output_groups=mtree //{package}:{layer} && cp bazel-bin/{package}/{layer}.mtree {package}/{golden}".format(
            golden = golden,
            layer = layer,
            package = package,
        ),
        file1 = golden,
        file2 = name + "_mtree",
    )
