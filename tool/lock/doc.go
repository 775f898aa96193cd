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
// Two more fields are there where the project file asks for them. "mirrors" says
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
package lock
