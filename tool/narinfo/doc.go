// Package narinfo reads and writes what a binary cache says of one store path, and checks
// who signed it.
//
// A narinfo is text: lines of "Field: value" that name a store path, its NAR's
// hash and size, the paths it refers to, the file that holds the NAR, and
// signatures (Nix manual, "Binary cache", and nix/src/libstore/nar-info.cc). It is
// read as Nix 2.34 does, and stricter where Nix lets pass what no cache writes: a
// field given twice (of two NarHash lines Nix silently takes the last), values
// with carriage returns, URLs that lead out of the cache.
//
// A signature covers path, NarHash, NarSize and references ([Info.Fingerprint]),
// but neither URL, compression nor FileHash: those are to be believed only in so
// far as the NAR that they lead to has the signed NarHash. [Parse] and
// [Info.VerifiedBy] are the entry points; who writes a cache has [Info.Sign] and [Info.Marshal].
//
// Guix' caches differ in two things (guix/narinfo.scm). Several groups of
// URL, Compression and FileSize, each begun by its URL, offer the same NAR
// ([Info.Files]). And the one Signature field covers all bytes of the narinfo above
// its line, as they are ([GuixSignature]); what is believed must stand there.
package narinfo
