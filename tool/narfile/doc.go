// Package narfile reads a NAR as a binary cache keeps it, a file that may be
// compressed, and lets nothing pass that isn't what was promised.
//
// [Reader] gives the NAR's bytes, and [io.EOF] only when the file had the
// FileHash and FileSize, its contents the NarHash and NarSize, and nothing
// followed in the file: Nix itself checks NarHash and NarSize only. Files of several zstd or lz4 frames, xz
// or bzip2 streams, gzip or lzip members that together make one NAR are right (br has one stream),
// as are what their formats call padding: xz stream padding (zeros, a multiple of four)
// and the skippable frames of zstd (pzstd writes them) and lz4. Anything else behind the
// compressed stream is an error.
//
// Memory is bounded by the window that a file demands, at most [MaxWindow],
// output by NarSize: a bomb stops there. Everything happens in the caller's goroutine.
package narfile
