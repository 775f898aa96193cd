// Package inventory finds the store paths in an image's layers by the layers' own
// bytes, whoever made them: which there are, in which layer, how large each is, what the hash
// of its NAR would be, and which of the others it refers to.
//
// [Read] is one pass over the tars. An entry belongs to the store path that its name
// begins with: a directory of any name, and in it 32 characters of nixbase32, a dash and a name.
// Out of the entries of a path its NAR is made again, and hashed, as package nar does it; that needs
// them in the NAR's order, each file with its contents.
//
// [Inventory.References] is a second pass. It looks for references as Nix does
// when it has built a path: any occurrence of another path's hash part, in the contents of
// files or the targets of symlinks, is one (nix/src/libstore/path-references.cc).
//
// Memory grows with the number of store paths and not with their size.
package inventory
