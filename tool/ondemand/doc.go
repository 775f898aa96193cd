// Package ondemand makes images of packages when somebody asks for them by name, as Nixery does (https://nixery.dev):
// shell/git/htop is an image with a shell, git and htop, made out of binary caches, without Nix and without unpacking anything.
//
//	repository, tag ─ name.go: which packages, of which system and channel
//	    └→ resolve.go: store paths, by the channel's store-paths list, which lists.go keeps
//	        └→ image.go: closure with its signatures checked, layers by the planner, config and manifest
//	            └→ layers.go: NARs to blobs, each once, kept in cache.go's folder; outlines.go: what is in them, for the links
//
// Who waits for lookups and images waits in queue.go, by turns; what can't be made is remembered in refusals.go for a while.
//
// [New] makes a [Registry], which is a [serve.Source].
//
// # What an image depends on
//
// On the store paths of its packages, and on options, caches and public keys of the server: of these the key is made under
// which an image is kept. So the order of packages in a name, the server's past and who else asks change nothing, and
// a layer of the same NARs is one blob in all images. A tag moves when the channel's list does.
//
// # What is kept
//
// A folder holds blobs, what is known of each layer, and each image's manifest, config and lock. The longest unused files go
// when it grows over its limit. A blob that is gone is made again, when it is asked for, from the lock of an image that
// has it, and must come to the same digest. Files appear whole or not at all, and none is believed that a process found there:
// blobs are hashed the first time that they are used, documents carry their own hash. So a server may be killed at any moment.
package ondemand
