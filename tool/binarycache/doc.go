// Package binarycache writes binary caches: folders, and HTTP servers that take
// PUT (Nix manual, "HTTP binary cache store"; nix/src/libstore/binary-cache-store.cc).
//
// A cache is files by name: nix-cache-info, a narinfo for each store path, NARs.
// [Open] opens one as a place to write to. [Write] puts store paths into it that
// are on disk, signed; [Mirror] what a lock names, as other caches have it. Both ask first what
// is there, so that they can be stopped and run again.
//
// In a folder each file appears whole; over HTTP that is the server's part. A
// narinfo comes last: behind its NAR and behind the narinfos of all that the path refers to. So
// whoever reads the cache meanwhile finds whole closures, or nothing.
package binarycache
