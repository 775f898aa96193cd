#!/bin/sh
# Copies the listings of the layers into the source tree; `bazel run //rules/tests/files:update`.
set -eu
to=${BUILD_WORKSPACE_DIRECTORY:?run me by "bazel run"}/rules/tests/files
for listing; do
	name=$(basename "$listing")
	cp "$listing" "$to/$name.golden"
	chmod 644 "$to/$name.golden"
done
echo "wrote $# listings into $to"
