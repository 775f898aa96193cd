// Package validate is the oracle: it recomputes everything that a container
// image claims about itself and lists all that is not so.
//
// [Image] takes an OCI image layout (OCI image-spec 1.1, image-layout.md) as a
// directory or as a tar, and checks the JSON documents against image-spec's
// schemas; every digest, size, media type and diff ID; the config against the
// manifest and the index; the history against the layers; the tars inside the
// layers; the names, and docker's manifest.json against index.json where it is
// there; and that nothing lies about that no document refers to.
//
// A docker archive that is no OCI layout is held to manifest.json, and to docker's image
// spec v1.0 where it has the file repositories.
//
// Layers of store paths are held to more than OCI asks: see [checkTar].
//
// It shares no code with what makes images, save for the grammars of names and
// of history comments. Blobs are read as streams, each once, and documents up
// to 4 MiB: memory grows with the number of blobs and of store paths only.
package validate
