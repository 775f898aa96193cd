// Package image makes container images out of layers that exist already: the
// config and the manifest (OCI image-spec 1.1, config.md and manifest.md), the
// archive that docker, podman, skopeo and containerd load, and the OCI image
// layout (image-layout.md).
//
// [Build] needs only the layers' digest files and the image's [Settings], no
// blob, and gives the same bytes for the same input. [WriteArchive] and
// [WriteLayout] put an [Image] and its blobs into one tar or one directory;
// [Parse] reads back what Build made.
//
// All JSON that the package makes is compact, has its fields in the order of
// image-spec's Go types and its maps sorted by key, escapes no HTML characters
// and ends without a newline. A digest depends on each of these, so they change
// only with [digestfile.FormatVersion].
//
// The package never looks into a layer's tar; tool/validate does.
package image
