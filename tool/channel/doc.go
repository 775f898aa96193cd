// Package channel looks up packages by name in a store-paths list, as the
// channels of nixpkgs publish one beside each release (store-paths.xz): the store
// paths of all outputs of all packages that were built, for all systems, a line
// each, in no order. That is all: attribute names, systems and outputs are in it only as far as
// the names of store paths tell.
//
// [ParseQuery] reads what people write for a package, [Search] reads a list once and
// finds any number of packages in it, and [Result.Paths] chooses among what was
// found or says what to write instead. A list is not signed and isn't believed: the
// store paths out of it are to be had from a cache, signed or not at all.
package channel
