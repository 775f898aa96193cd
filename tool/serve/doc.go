// Package serve is a registry that images are pulled from: the pull side of the OCI distribution spec 1.1
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md), with what docker, podman, containerd, skopeo
// and crane expect of it besides (HEAD, ranges, ETag, the catalog, tags and referrers by pages). It stores nothing and takes
// nothing: what would push or delete is answered by 405 UNSUPPORTED.
//
// [NewHandler] knows the protocol, and bounds who asks too much; [Run] is the HTTP server around it, with its time-outs
// and its end. Where images come from is a [Source]: [Images] are images on the disk in any form that package imagefile
// reads; package ondemand makes them out of packages' names; [Join] puts several together.
//
// Names and digests are checked by their grammar before a source sees them: no "..", no empty part, no capital
// letter, no control character gets so far, however it is encoded. Blobs go out as they are stored: whatever a client says
// it accepts, nothing is compressed on the way.
package serve
