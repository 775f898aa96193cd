// Package base reads images to build others on: out of an OCI image layout
// (image-spec 1.1, image-layout.md), in a directory or in a tar, or out of an
// archive that `docker save` wrote (moby, image/spec/v1.2.md, Combined Image JSON + Filesystem
// Changeset Format). A tar may be compressed by gzip or zstd.
//
// [Open] finds the image that is meant and checks the digest of each document;
// [Image.Base] is what image.BuildOn wants, [Image.Blobs] the layers' bytes for
// an archive or a layout. [FromParts] is the same for an image whose parts are
// files of their own, as Bazel has them.
//
// A layout may be shallow: layers may be absent. Then what is known of a layer's store
// paths is what strata wrote into the history. A layer that is there is read, checked against its
// digest and diff ID, and each store path in it against the NAR that it would
// be: only what is in place whole, with a store's modes and owner, and in one
// layer alone, counts as there.
//
// All of it is foreign: documents are bounded, names stay inside, links that
// go in a circle are errors. Memory grows with the number of store paths and of files in a tar of layers.
package base
