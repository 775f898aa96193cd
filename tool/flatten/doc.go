// Package flatten makes one tar of an image's layers: the root file system that a
// container of the image would see.
//
// Layers are tars of changes (OCI image-spec 1.1, layer.md): what an upper
// layer has replaces what is below it by the same name, a file ".wh.NAME"
// removes NAME from the layers below, and ".wh..wh..opq" all that they have in
// its directory. Names whose directories are symlinks of the image are taken where these lead, as
// runtimes do when they unpack.
//
// [Write] reads the layers two times, lowest first: once for their headers, which makes the
// tree, and once for the contents of what is left in it. A single pass from the
// top would see a hard link before the file that it is another name of, and that file may have been
// replaced or removed by its first name. So the result has parents before
// children, every file's contents once, and its other names as hard links to
// the first, whatever became of the name that had it in the layer. Owners, modes, times,
// devices and extended attributes are as they were.
//
// Nothing is unpacked. Memory grows with the number of paths in the image, about
// 300 bytes each, and is bounded by [MaxPaths]; not with the size of files.
package flatten
