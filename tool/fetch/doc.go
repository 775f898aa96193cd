// Package fetch opens what a URL names, as a stream, and keeps at it until
// the bytes are there or can't be had. It knows file: and HTTP (RFC 9110:
// ranges in section 14, Retry-After in 10.2.3; RFC 8089 for file:) and nothing
// of what it fetches: the callers check hashes.
//
// [New] makes a [Client]; [Client.Open] streams a file of any size and resumes
// it when the connection breaks; [Client.Get] reads a small one whole.
//
// [NewCredentials] finds what hosts want to see, where users of curl and Bazel keep it: netrc files and
// Bazel's credential helpers.
//
// No error, and nothing else that this package hands out for people to read,
// holds a URL's user, password or query: [Redact] is what they see.
package fetch
