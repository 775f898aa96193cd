// Package graph reads what Nix and Guix write about closures in files: which
// store paths there are, what each refers to, and, in some forms, hashes.
//
// The forms, told apart by their contents:
//   - a references graph, as a derivation sees it: for each path the lines path,
//     deriver, number of references, references (Nix' exportReferencesGraph,
//     nix/src/libstore/store-api.cc, makeValidityRegistration; Guix'
//     #:references-graphs, guix/build/store-copy.scm, read-reference-graph);
//   - a registration, which nix-store --load-db reads and closureInfo and
//     nix-store --dump-db write: the same with NarHash and NarSize behind the path;
//   - the JSON of nix path-info: a list (until Nix 2.18, and in __structuredAttrs),
//     an object by path (since 2.19), and an object with "info" (--json-format 2 and later);
//   - the JSON of nix build: outputs of derivations, without references.
//
// [Parse] and [Read] are the entry points. A graph is believed as little as
// any other input: it says nothing that a signature or a NAR wouldn't have to confirm.
package graph
