// Package image makes container images out of layers that exist already: the
// config and the manifest (OCI image-spec 1.1, config.md and manifest.md), the index
// of images for several platforms (image-index.md), the
// archives that docker, podman, skopeo and containerd load, and the OCI image
// layout (image-layout.md).
//
// [Build] needs only the layers' digest files and the image's [Settings], no
// blob, and gives the same bytes for the same input; so does [BuildIndex] with the
// descriptors of images. [WriteArchive] and
// [WriteLayout] put an [Image], or an [Index] with its images, and the blobs into one tar or one directory,
// [Archive.Write] into another form of tar; [Parse] and [ParseIndex] read back what was made.
//
// [BuildOn] makes an image on another one ([Base]; package base reads them). What the
// settings say goes over a raw config among them, and that over the base's.
//
// All JSON that the package makes is compact, has its fields in the order of
// image-spec's Go types and its maps sorted by key, escapes no HTML characters
// and ends without a newline. A digest depends on each of these, so they change
// only with [digestfile.FormatVersion].
//
// # Names
//
// An image may have any number of names. What clients make of them:
//
//   - none: docker and podman load the image without a name, by its ID; skopeo
//     takes the archive as it is; ctr imports nothing unless told --digests.
//   - one: all of them find it; oci-archive:FILE and oci-archive:FILE:TAG are the same.
//   - several: docker, podman and ctr get all of them; skopeo's oci-archive and
//     umoci want to be told which tag, docker-archive does not.
//
// A name of an [Index] leads to the index in an OCI layout. In a docker archive, which
// knows no platforms, each of its images has it with the platform behind the tag ([Reference.ForPlatform]).
//
// The package never looks into a layer's tar; tool/validate does.
package image
