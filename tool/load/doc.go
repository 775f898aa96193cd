// Package load puts an image into a container runtime: docker, podman or
// containerd. [Find] returns the one that runs here, [Runtime.Load] hands the
// image over.
//
// What a runtime has it isn't sent again, as far as it can be asked:
//
//   - docker with graph drivers (the default before version 29) keeps layers by their chain, the
//     diff IDs up to and including their own. When it loads an archive it opens only the
//     layers whose chain it lacks, so that the others may be missing from the archive;
//   - docker with containerd's image store, and containerd itself, keep blobs
//     by digest: those they have may be missing;
//   - podman reads an OCI layout, whose blobs are links to the files: it opens those that it lacks.
//
// Should the runtime have lost a layer since it was asked, all are sent. The
// archive is made as it is sent (docker's API, or the standard input of ctr and podman); it is never on the disk.
//
// docker is spoken to by its API (https://docs.docker.com/reference/api/engine/),
// containerd and podman by their own commands: ctr comes with every containerd,
// and podman has no daemon.
package load
