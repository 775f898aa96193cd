#!/bin/sh
# Copies the listings of the layers into the source tree; `bazel run //rules/tests/layers:update`.
set -eu
to=${BUILD_WORKSPACE_DIRECTORY:?run me by "bazel run"}/rules/tests/layers
for listing; do
	name=$(basename "$listing")
	cp "$listing" "$to/${name%_layer.mtree}.mtree.golden"
	chmod 644 "$to/${name%_layer.mtree}.mtree.golden"
done
echo "wrote $# listings into $to"
