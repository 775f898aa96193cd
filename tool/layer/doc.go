// Package layer turns store paths into a layer of an OCI image, in one pass:
// their NARs come in, a compressed tar goes out, with all that an image has to
// know of it.
//
//	NAR file → decompressed, checked ┐
//	NAR file → decompressed, checked ┼→ parsed → tar ┬→ SHA-256: diff ID
//	…          (a few side by side)  ┘               └→ compressed → SHA-256: digest → blob
//
// [Write] is the entry point. The branches of the picture run beside each other,
// joined by queues of a few reused buffers ([Options.Workers] says how many cores there are); memory
// doesn't grow with a file, a store path or a layer, and nothing is allocated per entry.
//
// # The tar
//
// Unless [Options] say otherwise: names are relative ("nix/store/…": image scanners miss files behind a leading
// slash). First come the store directory and its parents, each ending in a
// slash (mode 0755), then the store paths in byte order, each in the order of its NAR
// (parents first, names of a directory in byte order; a stream needs no sorting).
// Directories have mode 0555, regular files 0444 or, if executable, 0555,
// symlinks 0777; all belong to 0:0 ("root", but the store directory and its parents have no names), and
// their time is the second 1, as in a Nix store. Headers are ustar where they fit, with pax extended
// headers where they don't (tarWriter says when). No hard links, no other types. The end is two zero blocks.
//
// These are, entry for entry, the entries of nixpkgs' stream_layered_image.py,
// leading slash aside. The OCI image-spec (layer.md) gives meaning to names that begin with
// ".wh.": they remove files. A NAR that has one is refused unless [Options.AllowWhiteoutNames] is set.
//
// # What the bytes depend on
//
// The same NARs and options give the same bytes, whatever the order of the NARs,
// how a cache compressed them, the number of cores or workers, the clock, the umask or the
// locale. Who changes the tar, an encoder, its level or its block size raises
// digestfile.FormatVersion.
package layer
