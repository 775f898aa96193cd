"""Says what it finds: its interpreter, a module of the workspace, and its runfiles."""

import os
import sys

from bazel_tools.tools.python.runfiles import runfiles

from rules.tests.binaries.words import greeting

HERE = "_main/rules/tests/binaries/"


def main():
    print(greeting.of("python"))
    print("interpreter", os.path.realpath(sys.executable))
    print("arguments", sys.argv[1:])
    files = runfiles.Create()
    for path in [
        HERE + "data/with space.txt",
        HERE + "data/größe.txt",  # a name in UTF-8
        HERE + "tree.dir/a/b/file",  # out of a directory that an action made
        HERE + "links.link",  # a symlink that an action made
        "_main/renamed/file",  # runfiles' own symlinks, to a file and to a directory
        "_main/renamed/tree/a/b/file",
        "at_root/file",
        "at_root/tree/a/b/file",
    ]:
        with open(files.Rlocation(path), encoding="utf-8") as f:
            print(path.removeprefix(HERE), f.read().strip())


if __name__ == "__main__":
    main()
