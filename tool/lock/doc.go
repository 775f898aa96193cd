// Package lock is the lock, strata.lock.json: every store path that the roots
// of a project need, pinned by hashes whose signatures were checked when it was
// made, and the plan of the layers. It is checked in and reviewed, so its text
// is the same for the same content, and a change in one path changes that path's lines only.
//
//	{
//	  "version": 1,
//	  "roots": {"web": {"x86_64-linux": "/nix/store/dr6…-web-1.0"}},
//	  "caches": ["file:../../cache"],
//	  "paths": {
//	    "/nix/store/0g8…-gcc": {
//	      "url": "file:../../cache/nar/1yl….nar.zst",
//	      "compression": "zstd",
//	      "file_hash": "sha256:<64 hex>",
//	      "file_size": 52076,
//	      "nar_hash": "sha256:<64 hex>",
//	      "nar_size": 131864,
//	      "references": ["fkr…-glibc-2.36-9"],
//	      "signature": "strata-web-1:Bd7…=="
//	    }
//	  },
//	  "plan": {
//	    "strategy": "largest-first",
//	    "max_layers": 64,
//	    "layers": {"<layer>": ["<base name>"]},
//	    "images": {"web": {"x86_64-linux": ["<layer>"]}}
//	  }
//	}
//
// Who vouches for nar_hash, nar_size and references is one of four:
// "signature", a signature of Nix, "<key name>:<base64>", which anybody can
// check who has the lock and the public key, since it is of the path and these
// three; "signed_by", the name of the project's public key where that is one of Guix, whose signature is of the
// narinfo's text, which the lock hasn't got; "content_addressed", a
// content address ("fixed:r:sha256:…") from which, with the references, the store path
// itself follows; "allowed_unsigned_by", the URL of a cache that the project file lets be unsigned.
//
// Where a cache offers a NAR in several files (Guix'), the lock names the one
// whose compression comes first in: zstd, br, gzip, lz4, xz, lzip, bzip2, none.
// A file without FileHash is downloaded when the lock is made, so that the lock pins it.
//
// "caches" are the caches that were asked, in their order; every file is below one
// of them. Two more fields are there where the project file asks for them. "mirrors" says
// where else a cache's files are, under the same relative URLs; "sources" says
// where a root's store path was looked up:
//
//	"sources": {"web": {"x86_64-linux": "<where>"}},
//	"mirrors": {"https://cache.nixos.org": ["https://nix.example.com"]},
//
// [Make] walks the caches' narinfos and checks signatures: nothing behind it
// does that again. [Lock.Marshal] and [Parse] are the text form. Parse believes
// nothing but the hashes: a lock that somebody edited is whole, or it is an
// error that says where.
//
// # Locking again
//
// Where there is a lock already, Make asks no cache for a path if what that lock
// says of it holds still: its signature is right, by a key of the project,
// over this path, NarHash, NarSize and references, or its content address
// is, over path, NarHash and references; and its file is of a cache of the
// project, before which the project has no cache that wasn't asked before it then, too.
// So locking again without a change needs no network, and after an update the new paths' narinfos only.
//
// What has neither (signed by Guix, allowed to be unsigned, content-addressed by something else than
// the NarHash) is asked for again. Its NAR isn't downloaded again to learn hash and
// size of its file, if the narinfo still says the same URL, NarHash and NarSize; but it is to see whether it
// has its content address, for which the old lock's word isn't enough.
//
// The old lock may be anybody's work. All that is taken from it without a
// signature over it is where a file is, below a cache of the project, and that file's
// compression, hash and size; and the NarSize of a content-addressed path. Of a wrong one the worst is a build that
// fails, since every build checks the NAR. A lock made without the old one can differ in this much, then,
// and where the caches or the keys have changed: when a cache has moved a file or has a
// path now that a later one had before, or when a key is trusted now whose signature comes first.
// With [Options.Refresh], all is asked anew.
//
// A root that the project file doesn't name, but says where to look up, keeps its store path
// while the project file says the same of it, until [Options.Update]: that the lock holds
// still is what it is for. Its signatures are checked as all others are.
package lock
