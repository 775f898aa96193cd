"Compares what the rules make with what the command `strata build` makes of the same lock."

load("@bazel_skylib//rules:diff_test.bzl", "diff_test")
load("@bazel_skylib//rules:run_binary.bzl", "run_binary")

def same_image_test(name, image, args, lock = "//examples/web:strata.lock.json", root = "web", cache = "//testdata/web:cache", srcs = []):
    """Builds a root by the command, and compares digest and archive with an image's.

    Args:
      name: string, the test suite's name.
      image: label of the image.
      args: list of strings, the arguments that say to the command what the image's attributes say.
      lock: label of the lock.
      root: string, the root's name in it.
      cache: label of the files in the lock's cache.
      srcs: list of labels, what the arguments name.
    """
    run_binary(
        name = name + "_command",
        testonly = True,
        srcs = [
            cache,
            lock,
        ] + srcs,
        outs = [
            name + "_command.digest",
            name + "_command.tar",
        ],
        args = [
            "build",
            "--lock=$(execpath %s)" % lock,
            "--root=" + root,
            "--digest-file=$(execpath %s_command.digest)" % name,
            "--output=$(execpath %s_command.tar)" % name,
        ] + args,
        tool = "//tool/cmd/strata",
    )
    native.filegroup(
        name = name + "_digest",
        testonly = True,
        srcs = [image],
        output_group = "digest",
    )
    diff_test(
        name = name + "_digest_test",
        size = "small",
        file1 = name + "_digest",
        file2 = name + "_command.digest",
    )
    diff_test(
        name = name + "_archive_test",
        size = "small",
        file1 = image,
        file2 = name + "_command.tar",
    )
    native.test_suite(
        name = name,
        tests = [
            name + "_archive_test",
            name + "_digest_test",
        ],
    )
