// Package nar reads and writes Nix archives, the one form in which a store
// object enters strata.
//
// A NAR is a sequence of strings, each a little-endian 64-bit length, the bytes,
// and zeros up to a multiple of eight. They spell out a tree of directories,
// regular files (executable or not) and symlinks, with names in ascending byte
// order, so that a tree has exactly one NAR (Nix manual, "Nix Archive (NAR)
// format"). What is a good archive is judged as Nix 2.34 does
// (nix/src/libutil/archive.cc), also where older versions let more pass: depth
// below 64, names of 1 to 255 bytes, strictly ascending, targets of 1 to 4095
// bytes, padding of zeros. Beyond Nix, nothing may follow the archive.
//
// [Reader] gives the entries and their contents one after the other, as
// archive/tar does; [Writer] takes the same entries. Names are bytes, not text:
// they need not be UTF-8. Neither checks a hash: put a VerifiedReader (package
// store) or a Reader of package narfile below the Reader. Its [Reader.Next] gives
// [io.EOF] only after that one did, so nobody can forget the check.
package nar
