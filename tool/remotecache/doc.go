// Package remotecache reads blobs out of Bazel's caches, where a blob's key is its SHA-256, the
// very digest that registries know a layer by.
//
// [Open] takes what Bazel takes for --remote_cache and --disk_cache: an HTTP
// cache (http:, https:; https://bazel.build/remote/caching), a remote
// execution service (grpc:, grpcs:; ByteStream of the Remote Execution API v2),
// or a folder. A blob that a cache doesn't have is an error with [fs.ErrNotExist].
//
// Nothing is ever written, and nothing is checked: who reads checks the digest.
package remotecache
