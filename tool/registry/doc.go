// Package registry moves images to and from registries, by the OCI
// distribution specification, version 1.1.
//
// A [Client] speaks to registries. [Client.Push] makes a repository hold a
// [Content] and has tags name it: it asks before it sends, opens blobs only if
// the registry lacks them, resumes what was cut, and puts each manifest behind
// all that it names, the tags last. [Client.Pull] goes the other way, into a
// layout, with the layers or without them.
//
// Login and tokens are go-containerregistry's (its remote/transport), the
// credentials those of docker, podman and netrc ([Keychain]). Its upload is not used:
// it takes no part of a blob up again, and doesn't tell what was sent, mounted or there already.
//
// Registries are not trusted: what they send is checked against digests, and
// what they say they have stored is read back, as far as one request can show it. Plain HTTP is spoken with
// loopback addresses and with the registries named for it, and with no other
// host, wherever a registry points. No error holds a credential or a URL's query.
package registry
