#!/bin/sh
# Copies the generated rules reference into the source tree; `bazel run //docs:update`.
set -eu
to=${BUILD_WORKSPACE_DIRECTORY:?run me by "bazel run"}/docs/rules.md
cp "$1" "$to.new"
chmod 644 "$to.new"
mv "$to.new" "$to"
echo "wrote $to"
