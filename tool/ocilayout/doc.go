// Package ocilayout knows where the parts of an image are on a disk: in an OCI image
// layout (image-spec, image-layout.md), which is a directory, or in a tar that
// holds one, such as the archive that an image target builds.
//
// [Open] reads index.json; [Layout.Manifest] reads a manifest, and
// [Layout.OpenAt] a blob from any offset on, so that what broke off can go on.
// In a tar the blobs are read where they stand: nothing is unpacked. [Create] begins a new layout.
//
// A layout may be shallow: manifests and configs are there, layers are not. It
// says by [AnnotationSource] where they are. What of a layout isn't there is an
// error with [fs.ErrNotExist].
//
// The package checks the digests of manifests; those of blobs are for who reads them to check, to the
// last byte.
package ocilayout
