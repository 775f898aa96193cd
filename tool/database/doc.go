// Package database makes the databases by which Nix and Guix know what is in their stores, for the store paths of an image, and what
// belongs around them: garbage collector roots and the directories that both look for.
//
// A [Registration] says what is known of the store paths; [Registration.Spec] returns it as the files of a layer, which package
// filelayer writes. With that layer in an image real Nix finds the image's store paths valid, verifies them, tells their
// references, and collects no garbage among them.
//
// # What the formats are
//
// Both are SQLite databases with the tables ValidPaths, Refs and DerivationOutputs. Nix' has schema version 10, the same from Nix
// 2.0 on (nix/src/libstore/schema.sql, local-store.hh); Guix' has version 7, without signatures and content
// addresses (guix/nix/libstore/schema.sql). The file "schema" beside the database holds that number.
//
// # What is in them
//
// Path, NarHash, NarSize, references, signatures and content address as given, the registration time the same for all. No deriver, since
// derivations aren't in the image and locks don't name them; dockerTools' includeNixDB has none either. No path is
// "ultimate": none was built here. Of a derivation that is in the image the outputs aren't registered.
//
// # What the bytes depend on
//
// On the registration and on the version of SQLite, which writes its own number into the header; on nothing of the machine: SQLite is
// a library of portable Go here (github.com/ncruces/go-sqlite3), rows go in sorted, in one transaction, and a VACUUM leaves no
// trace of how they did.
package database
