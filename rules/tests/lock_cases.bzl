"""A lock, and changes to it of which the rules and the tools must judge alike.

JSON in strings, since Go reads them too (locks_test.go).
"""

A = "0i1z7gpjsbqynxvczq9y25iqvl66875x-a"
B = "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"

# b refers to a and to itself, and is the root.
LOCK = """{
  "version": 1,
  "roots": {"app": {"x86_64-linux": "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"}},
  "caches": ["https://cache.example.org", "file:cache"],
  "paths": {
    "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a": {
      "url": "https://cache.example.org/nar/a.nar.xz",
      "compression": "xz",
      "file_hash": "sha256:1111111111111111111111111111111111111111111111111111111111111111",
      "file_size": 10,
      "nar_hash": "sha256:2222222222222222222222222222222222222222222222222222222222222222",
      "nar_size": 5000000000,
      "references": [],
      "signed_by": "example-1"
    },
    "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b": {
      "url": "file:cache/nar/b.nar",
      "compression": "none",
      "file_hash": "sha256:3333333333333333333333333333333333333333333333333333333333333333",
      "file_size": 96,
      "nar_hash": "sha256:3333333333333333333333333333333333333333333333333333333333333333",
      "nar_size": 96,
      "references": ["0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"],
      "signed_by": "example-1"
    }
  },
  "plan": {
    "strategy": "largest-first",
    "max_layers": 64,
    "layers": {
      "0i1z7gpjsbqynxvczq9y25iqvl66875x-a": ["0i1z7gpjsbqynxvczq9y25iqvl66875x-a"],
      "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b": ["171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"]
    },
    "images": {"app": {"x86_64-linux": ["0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"]}}
  }
}
"""

# Each change is the way to a value, and the new value: the lock stays one.
LOCK_GOOD = r"""[
  [["mirrors"], {"https://cache.example.org": ["https://mirror.example.org/nix", "file:../copy"], "file:cache": ["https://mirror.example.org"]}],
  [["sources"], {"app": {"x86_64-linux": "nginx out of nixos-25.05"}}],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "url"], "https://cache.example.org/nar/a%2Bb.nar.xz?a=b&c=@"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "url"], "file:cache/it's/~a@b.nar"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "nar_size"], 9223372036854775807],
  [["paths", "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b", "references"], ["0i1z7gpjsbqynxvczq9y25iqvl66875x-a"]],
  [["caches"], ["https://cache.example.org/nar", "file:cache", "https://other.example.org:8443/~x"]],
  [["plan", "strategy"], "another"],
  [["plan", "max_layers"], 2]
]
"""

# After each of these it is none; null removes a field.
LOCK_BAD = r"""[
  [["version"], 2],
  [["version"], "1"],
  [["version"], 1.0],
  [["version"], null],
  [["something"], 1],
  [["Plan"], {}],

  [["roots"], null],
  [["roots"], {}],
  [["roots"], []],
  [["roots", "app"], "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"],
  [["roots", "app"], {}],
  [["roots", "app", "x86_64-linux"], "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-c"],
  [["roots", "app", "x86_64-linux"], "171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"],
  [["roots", "app", "x86_64-linux"], "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a"],
  [["roots", "app", "x86_64-linux"], {}],
  [["roots", "app", "aarch64-linux"], "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"],
  [["roots", "app", "aarch64-darwin"], "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"],
  [["roots", "other"], {"x86_64-linux": "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"}],
  [["roots", "a/b"], {"x86_64-linux": "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"}],
  [["roots", "path"], {"x86_64-linux": "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"}],

  [["caches"], null],
  [["caches"], []],
  [["caches"], "https://cache.example.org"],
  [["caches"], ["https://cache.example.org"]],
  [["caches"], ["https://cache.example.org", "file:cache", "file:cache"]],
  [["caches"], ["https://cache.example.org/", "file:cache"]],
  [["caches"], ["https://cache.example.org?x", "https://cache.example.org", "file:cache"]],
  [["caches"], ["https://cache.example.org#x", "https://cache.example.org", "file:cache"]],
  [["caches"], ["https://me:hunter2@cache.example.org", "https://cache.example.org", "file:cache"]],
  [["caches"], ["cache.example.org", "https://cache.example.org", "file:cache"]],
  [["caches"], [1, "https://cache.example.org", "file:cache"]],

  [["mirrors"], []],
  [["mirrors"], {}],
  [["mirrors"], {"https://other.example.org": ["https://mirror.example.org"]}],
  [["mirrors"], {"https://cache.example.org/": ["https://mirror.example.org"]}],
  [["mirrors"], {"https://cache.example.org": []}],
  [["mirrors"], {"https://cache.example.org": "https://mirror.example.org"}],
  [["mirrors"], {"https://cache.example.org": [1]}],
  [["mirrors"], {"https://cache.example.org": ["https://mirror.example.org/"]}],
  [["mirrors"], {"https://cache.example.org": ["https://mirror.example.org?x"]}],
  [["mirrors"], {"https://cache.example.org": ["https://me:hunter2@mirror.example.org"]}],
  [["mirrors"], {"https://cache.example.org": ["https://mirror.example.org", "https://mirror.example.org"]}],
  [["mirrors"], {"https://cache.example.org": ["https://cache.example.org"]}],

  [["sources"], {}],
  [["sources"], []],
  [["sources"], {"other": {"x86_64-linux": "x"}}],
  [["sources"], {"app": {}}],
  [["sources"], {"app": "x"}],
  [["sources"], {"app": {"aarch64-linux": "x"}}],
  [["sources"], {"app": {"x86_64-linux": ""}}],
  [["sources"], {"app": {"x86_64-linux": 1}}],

  [["paths"], null],
  [["paths"], []],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a"], null],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a"], "x"],
  [["paths", "/nix/store/nothing"], {}],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "url"], null],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "url"], 1],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "url"], "nar/a.nar.xz"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "url"], "ftp://cache.example.org/nar/a.nar.xz"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "url"], "https://other.example.org/nar/a.nar.xz"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "url"], "https://cache.example.org.evil.example/nar/a.nar.xz"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "url"], "https://me:hunter2@cache.example.org/nar/a.nar.xz"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "compression"], null],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "compression"], ""],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "compression"], "rar"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "file_hash"], null],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "file_hash"], "sha256:0000000000000000000000000000000000000000000000000000000000000000"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "file_hash"], "sha256:15nnwx3vh11348pyiyfjhkwq656skqdgbfg0yfnqfjznv7i3l7ar"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "nar_hash"], null],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "nar_hash"], "sha256:abc"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "nar_hash"], "sha256:0000000000000000000000000000000000000000000000000000000000000000"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "nar_hash"], "sha256:ABCDEF2222222222222222222222222222222222222222222222222222222222"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "file_size"], null],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "file_size"], 0],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "nar_size"], -1],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "nar_size"], "96"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "nar_size"], 1.5],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "nar_size"], 9223372036854775808],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "references"], null],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "references"], "0i1z7gpjsbqynxvczq9y25iqvl66875x-a"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "references"], ["/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a"]],
  [["paths", "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b", "references"], ["171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b", "0i1z7gpjsbqynxvczq9y25iqvl66875x-a"]],
  [["paths", "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b", "references"], ["0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "0i1z7gpjsbqynxvczq9y25iqvl66875x-a"]],
  [["paths", "/nix/store/171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b", "references"], ["171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"]],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "signed_by"], null],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "signed_by"], ""],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "signed_by"], ["example-1"]],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "allowed_unsigned_by"], "https://cache.example.org"],
  [["paths", "/nix/store/0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "deriver"], "x.drv"],

  [["plan"], null],
  [["plan"], []],
  [["plan", "something"], 1],
  [["plan", "strategy"], null],
  [["plan", "strategy"], ""],
  [["plan", "max_layers"], null],
  [["plan", "max_layers"], 0],
  [["plan", "max_layers"], 1],
  [["plan", "max_layers"], 126],
  [["plan", "max_layers"], "64"],
  [["plan", "layers"], null],
  [["plan", "layers"], []],
  [["plan", "layers", "0i1z7gpjsbqynxvczq9y25iqvl66875x-a"], null],
  [["plan", "layers", "0i1z7gpjsbqynxvczq9y25iqvl66875x-a"], []],
  [["plan", "layers", "0i1z7gpjsbqynxvczq9y25iqvl66875x-a"], ["c"]],
  [["plan", "layers", "0i1z7gpjsbqynxvczq9y25iqvl66875x-a"], ["0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "0i1z7gpjsbqynxvczq9y25iqvl66875x-a"]],
  [["plan", "layers", "both"], ["0i1z7gpjsbqynxvczq9y25iqvl66875x-a"]],
  [["plan", "layers", "a b"], ["0i1z7gpjsbqynxvczq9y25iqvl66875x-a"]],
  [["plan", "images"], null],
  [["plan", "images"], {}],
  [["plan", "images", "other"], {}],
  [["plan", "images", "app"], {}],
  [["plan", "images", "app", "i686-linux"], ["0i1z7gpjsbqynxvczq9y25iqvl66875x-a"]],
  [["plan", "images", "app", "x86_64-linux"], []],
  [["plan", "images", "app", "x86_64-linux"], ["0i1z7gpjsbqynxvczq9y25iqvl66875x-a", "0i1z7gpjsbqynxvczq9y25iqvl66875x-a"]],
  [["plan", "images", "app", "x86_64-linux"], ["171i7j9q1s51y1w5a5lwh4j9jxgzaqkr-b"]],
  [["plan", "images", "app", "x86_64-linux"], "0i1z7gpjsbqynxvczq9y25iqvl66875x-a"]
]
"""
