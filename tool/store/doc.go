// Package store knows how a store names its objects: store paths, and the
// SHA-256 of their NARs and files in the forms that Nix and Guix write.
//
// A store path is "<store directory>/<hash part>-<name>" (nix.dev, "Store
// path"); Guix has the same with another directory. Hashes are written in
// Nix's own base 32, in hex, or in base64 as SRI does (W3C Subresource
// Integrity, section 3.1). [ParsePath], [ParseHash] and [NewVerifiedReader]
// are the entry points; nothing here reads a file or the network.
package store
