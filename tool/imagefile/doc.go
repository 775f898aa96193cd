// Package imagefile reads container images that exist already, whatever form
// they have on a disk:
//
//   - an OCI image layout, as a directory (OCI image-spec 1.1, image-layout.md);
//   - the same in a tar: an OCI archive, or the hybrid archive that Bazel and strata build make;
//   - a docker archive, as docker save and many others write it (manifest.json
//     names configs and layers);
//   - parts: a file of JSON that names a manifest, a config, digest files and
//     blobs, which is how Bazel's rules hand an image over without making an archive of it.
//
// [Open] finds out which it is and gives a [File], with every [Image] in it.
// [File.Select] picks one by name or platform. Of an image there are the bytes
// of manifest and config, and for each [Layer] its descriptor, its diff ID and
// [Layer.Open], or [Layer.Uncompressed] for the tar inside. [Image.V1] is the
// image for go-containerregistry; [Image.Built] and [Image.Blobs] are for the
// writers of package image.
//
// Nothing that is read is believed: documents are bounded and checked
// against their digests, readers of layers give [io.EOF] only when the bytes had the size and digest that
// were promised, names lead nowhere outside, links in an archive are followed a few
// steps only. Memory grows with the number of images and layers, not with their
// size. Package validate, the oracle, shares no code with this one: it lists all
// faults of an image, where this package stops at the first that it meets.
package imagefile
