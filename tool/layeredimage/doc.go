// Package layeredimage makes images as nixpkgs' stream_layered_image.py does:
// out of a JSON document that dockerTools writes, and a store on the disk, a docker
// archive as a stream (nixpkgs, pkgs/build-support/docker, streamLayeredImage).
//
// [Parse] reads the document, in the form of 2020 and with what came to it
// since. [Stream] writes the archive: each layer's size is computed from the names and
// sizes of its files beforehand, so that every file is read once and nothing lies on
// the disk in between. If a file changes meanwhile, Stream fails.
//
// The layers hold, entry for entry, what the script means to put there, with
// these differences: names are relative, as in all layers of strata, the root
// directory has no entry, which in the form of 2020 makes it read-only, and what is wrong in the script is
// right here. A store path that is one file has its contents, as have the
// further names of a hard-linked file; /nix and /nix/store can be
// entered; the order of entries is that of a NAR and doesn't depend on the
// file system; "now" is a time; and of the disk's owners, modes and times nothing
// is left but who may execute.
package layeredimage
