// Package lock is the lock, strata.lock.json: every store path that the roots
// of a project need, pinned by hashes whose signatures were checked when it was
// made, and the plan of the layers. It is checked in and reviewed, so its text
// is the same for the same content, and a change in one path changes that path's lines only.
//
//	{
//	  "version": 1,
//	  "roots": {"web": {"x86_64-linux": "/nix/store/dr6…-web-1.0"}},
//	  "paths": {
//	    "/nix/store/0g8…-gcc": {
//	      "url": "file:../../cache/nar/1yl….nar.zst",
//	      "compression": "zstd",
//	      "file_hash": "sha256:<64 hex>",
//	      "file_size": 52076,
//	      "nar_hash": "sha256:<64 hex>",
//	      "nar_size": 131864,
//	      "references": ["fkr…-glibc-2.36-9"],
//	      "signed_by": "strata-web-1"
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
// Who vouches for nar_hash, nar_size and references is one of three:
// "signed_by", the name of a public key of the project; "content_addressed", a
// content address ("fixed:r:sha256:…") from which, with the references, the store path
// itself follows; "allowed_unsigned_by", the URL of a cache that the project file lets be unsigned.
//
// Where a cache offers a NAR in several files (Guix'), the lock names the one
// whose compression comes first in: zstd, br, gzip, lz4, xz, lzip, bzip2, none.
// A file without FileHash is downloaded when the lock is made, so that the lock pins it.
//
// [Make] walks the caches' narinfos and checks signatures: nothing behind it
// does that again. [Lock.Marshal] and [Parse] are the text form. Parse believes
// nothing but the hashes: a lock that somebody edited is whole, or it is an
// error that says where.
package lock
