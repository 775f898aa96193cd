"StorePathInfo: one store path and the closure below it."

StorePathInfo = provider(
    doc = """One store path, where its NAR is, and its closure.

`store_path` makes it; a lock's root targets (`@store//:web`) forward the one of their store path and add the
system. `store_layer` reads `entry`, `image` reads `closure` and `system`.
""",
    fields = {
        "path": "string. The store path, as `/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15`; never None.",
        "nar": "File or None. The NAR as a binary cache stores it, compressed as `compression` says. None where the layer action fetches it from `urls`.",
        "nar_hash": "string. SHA-256 of the uncompressed NAR, as `sha256:<64 hex>`; never None. The layer action checks the bytes against it.",
        "nar_size": "string. Size of the uncompressed NAR in bytes, as decimal digits (Bazel's integer attributes end at 2^31): `226552`; never None.",
        "compression": "string. How `nar` and what `urls` name are compressed, by narinfo's name: `none`, `xz`, `zstd`, `gzip`, `bzip2`, `br`, `lzip`, `lz4`; never None.",
        "urls": "tuple of strings. Where the layer action may fetch the NAR, `http:` or `https:`, tried in order. Empty where `nar` is the only way.",
        "file_hash": "string or None. SHA-256 of the NAR as stored (compressed), as `sha256:<64 hex>`; never None when `urls` is not empty.",
        "file_size": "string or None. Size of the NAR as stored, as decimal digits.",
        "references": "tuple of strings. The store paths that this one refers to, sorted, with itself if it does; never None.",
        "signatures": "tuple of strings. Signatures of Nix' kind, as narinfo's `Sig`: `cache.nixos.org-1:<base64>`; may be empty. What a database of the store says of the path.",
        "content_address": "string or None. The content address, as narinfo's `CA`: `fixed:r:sha256:<52 characters>`. None also where a signature vouches for the path: then a lock doesn't have it.",
        "system": "string or None. The system that the path was locked for, as `x86_64-linux`. None below a root: most paths are of a system, but a text file is of none and shared by all.",
        "entry": "struct with the fields `label` (Label of the `store_path` target), `path`, `nar`, `nar_hash`, `nar_size`, `compression`, `urls`, `file_hash`, `file_size`, `references`, `signatures` and `content_address`, as above. What `closure` and `LayerInfo.store_paths` consist of.",
        "closure": "depset of entries. This path's `entry` and those of all that it refers to, directly or not.",
    },
)

def store_path_info(entry, system, closure):
    """Makes a StorePathInfo.

    Args:
      entry: struct, the path's entry, as the provider's field has it.
      system: string or None, as the provider's field has it.
      closure: depset of entries, `entry` among them.

    Returns:
      The StorePathInfo.
    """
    return StorePathInfo(
        path = entry.path,
        nar = entry.nar,
        nar_hash = entry.nar_hash,
        nar_size = entry.nar_size,
        compression = entry.compression,
        urls = entry.urls,
        file_hash = entry.file_hash,
        file_size = entry.file_size,
        references = entry.references,
        signatures = entry.signatures,
        content_address = entry.content_address,
        system = system,
        entry = entry,
        closure = closure,
    )
