// Package base knows what an image holds that another is built on.
//
// [Open] finds the image in a layout or an archive of any form that package
// imagefile reads; [Image.Base] is what image.BuildOn wants, [Image.Blobs] the layers' bytes for
// an archive or a layout. [FromParts] is the same for an image whose parts are
// files of their own, as Bazel has them.
//
// A layout may be shallow: layers may be absent. Then what is known of a layer's store
// paths is what strata wrote into the history. A layer that is there is read, checked against its
// digest and diff ID, and each store path in it against the NAR that it would
// be: only what is in place whole, with a store's modes and owner, and in one
// layer alone, counts as there. Memory grows with the number of store paths.
package base
