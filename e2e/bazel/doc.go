// Package bazel tests the rules by running real Bazel in a workspace of its
// own: what is cached, what is rerun, what goes over the wire, and that an
// image's digest depends on nothing but its inputs. The package has tests only.
package bazel
