"Builds layers, and compares them with listings and with what the layer tool makes when it is run by hand."

load("@bazel_skylib//rules:diff_test.bzl", "diff_test")
load("//rules:store_layer.bzl", "store_layer")
load("//rules:store_path.bzl", "StorePathInfo")
load("//rules/tests:listing_test.bzl", "listing_test")

def layer_test(name, path, args, golden = None, **kwargs):
    """Declares a layer of one store path, and the tests of it.

    Its listing must be the golden, and its digest file what the tool writes for the same NAR under `args`.

    Args:
      name: string, the test suite's name.
      path: label of the `store_path`.
      args: list of strings, what the attributes are for the tool.
      golden: string, the file's name; by default NAME.mtree.
      **kwargs: the layer's attributes.
    """
    store_layer(
        name = name + "_layer",
        testonly = True,
        mtree = True,
        paths = [path],
        **kwargs
    )
    native.filegroup(
        name = name + "_digest_file",
        testonly = True,
        srcs = [name + "_layer"],
        output_group = "digest_file",
    )
    listing_test(
        name = name + "_mtree_test",
        golden = golden or name + ".mtree",
        layer = name + "_layer",
    )
    _layer_by_hand(
        name = name + "_by_hand",
        testonly = True,
        arguments = args,
        path = path,
    )
    diff_test(
        name = name + "_digest_test",
        size = "small",
        file1 = name + "_by_hand",
        file2 = name + "_digest_file",
    )
    native.test_suite(
        name = name,
        tests = [
            name + "_digest_test",
            name + "_mtree_test",
        ],
    )

def _layer_by_hand_impl(ctx):
    blob = ctx.actions.declare_file(ctx.label.name + ".blob")
    digest_file = ctx.actions.declare_file(ctx.label.name + ".json")
    path = ctx.attr.path[StorePathInfo]
    ctx.actions.run(
        executable = ctx.executable._tool,
        arguments = [
            "--output=" + blob.path,
            "--digest-file=" + digest_file.path,
        ] + ctx.attr.arguments + [
            "--store-path=" + path.path,
            "--nar-hash=" + path.nar_hash,
            "--nar-size=" + path.nar_size,
            "--nar-compression=" + path.compression,
            "--nar=" + path.nar.path,
        ],
        inputs = [path.nar],
        outputs = [blob, digest_file],
        mnemonic = "LayerByHand",
    )
    return [DefaultInfo(files = depset([digest_file]))]

_layer_by_hand = rule(
    implementation = _layer_by_hand_impl,
    attrs = {
        "arguments": attr.string_list(),
        "path": attr.label(providers = [StorePathInfo]),
        "_tool": attr.label(
            cfg = "exec",
            default = "//tool/cmd/layer",
            executable = True,
        ),
    },
)
