// Package filelayer makes layers of what an image holds beside its store paths: files, folders and tars of the
// build, symlinks and empty directories, removals, links from the image's root to store paths, users and what else a
// small image lacks.
//
// A [Spec] lists entries; [Parse] and [ParseEntry] read them as JSON, from people and from Bazel. [Write] gathers
// what they name, puts it in order, and writes the layer through package layer: the same compression, the same digest
// file. [Verbatim] takes a tar as it is for a layer.
//
// # From entries to a tar
//
//	entries ─┬ files, folders: names and sizes of what is on disk
//	         ├ tars: headers; contents of compressed ones go into an unnamed temporary file
//	         ├ NARs: what is in them, for the links (or copies) of a root
//	         └ text, symlinks, directories, users …
//	     └→ nodes by path: excluded, renamed, collisions ─→ parents, modes, owners ─→ sorted ─→ tar
//
// Contents are never held in memory; names are, since only then it is known which are there twice: some 300 bytes
// each, at most [MaxEntries].
//
// # What the bytes depend on
//
// On the entries and options, on file contents, and on nothing else of a file: not on its time, owner or permissions, which
// differ from checkout to checkout, from sandbox to remote executor (Bazel makes all outputs executable). A file is
// executable (0755) if it begins as a program does, with "#!" or as ELF; else 0644; a directory is 0755; an option says
// otherwise. What comes out of a tar keeps the tar's modes, owners and extended attributes, since a tar says them of itself. All times are one.
//
// Entries are in the order of a NAR: parents first, by component, bytewise; in each directory whiteouts first (OCI image-spec, layer.md).
package filelayer
