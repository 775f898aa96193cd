// Package channel looks up packages by name in a store-paths list, as the
// channels of nixpkgs publish one beside each release (store-paths.xz): the
// store paths of all outputs of all packages that were built, for all systems, a line each. That
// is all: there are no attribute names, no systems and no outputs in it but what the names of store paths tell.
//
// [ParseQuery] reads what people write for a package.
package channel
