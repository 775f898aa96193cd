// Package imagefile reads container images that exist already, whatever form
// they have on a disk, and writes layouts:
//
//   - an OCI image layout, as a directory (OCI image-spec 1.1, image-layout.md);
//   - the same in a tar: an OCI archive, or the hybrid archive that Bazel and strata build make;
//   - a docker archive, as docker save and many others write it (moby, image/spec/v1.2.md: manifest.json
//     names configs and layers);
//   - parts: a file of JSON that names a manifest, a config, digest files and
//     blobs, which is how Bazel's rules hand an image over without making an archive of it.
//
// [Open] finds out which it is and what images it names. [File.Select] reads the one
// that is meant by name or platform; the others aren't read. Of an [Image] there are the bytes
// of manifest and config, and for each [Layer] its descriptor, its diff ID and
// [Layer.Open], or [Layer.Uncompressed] for the tar inside. [Image.Built] and [Image.Blobs] are for the
// writers of package image.
//
// [File.Root], [File.Manifest] and [File.OpenAt] are for who passes on all that the file
// has by digests, knowing nothing of images, as a push does. [CreateLayout] begins a layout.
//
// A tar is read where it stands: nothing is unpacked, unless it is compressed. A layout may be shallow: manifests and
// configs are there, layers are not. It says by [AnnotationSource] where they are.
//
// Nothing that is read is believed: documents are bounded and checked
// against their digests, readers of layers give [io.EOF] only when the bytes had the size and digest that
// were promised, names lead nowhere outside, links in an archive are followed a few
// steps only. Memory grows with the number of images and layers, not with their
// size. Package validate, the oracle, shares no code with this one: it lists all
// faults of an image, where this package stops at the first that it meets.
package imagefile
