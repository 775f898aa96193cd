package store_test

import (
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/store"
)

// The content-addressed paths of testdata/web/cache, as real Nix wrote them.
const (
	caText     = "text:sha256:0gkg9dnpx96qfq11zrd304dnqvrxzk9vawlnkahl86j943rb472i"
	caTextPath = store.Path("/nix/store/6wrvzdad0i13x19kfypnq8ka11iifphd-ca-text.txt")
	caMotd     = "text:sha256:00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq"
	caMotdPath = store.Path("/nix/store/jbnpmbz98y0dv8y9g0zqpirbl85a6r7f-motd")
	caFlat     = "fixed:sha256:02jhncwq2qh2lqzbalmm28k2h3mfbf5p3iqdg75h5dh0q9vmzcri"
	caFlatPath = store.Path("/nix/store/khphssziygpj7awffydl1z3aynjfv2kv-ca-flat.txt")
	caNAR      = "fixed:r:sha256:1j5m2dg65kd6abl5h530277c6f0gb79c7i537dlldw349l7nvdvl"
	caNARPath  = store.Path("/nix/store/l0x5bwzlfsb0w17c6qdpyrfg67978cha-ca-recursive-dir")
	// By nix store make-content-addressed of Nix 2.8 and 2.34.
	caSelf      = "fixed:r:sha256:11514n7xl2qbqpyl80cvmvm72z74fvabawgkv18gcjp2ic90gflk"
	caSelfPath  = store.Path("/nix/store/qahfzbfn5lvfv57dlq7j06v6vbqzjjwl-oddities-1.0")
	caSelfNew   = "fixed:r:sha256:1a0ng50h33w75rz8d17g3img3rz12zy52l6q96fqxn8vdh6aa67j"
	caSelfPath2 = store.Path("/nix/store/7jkqhzh6vs663bz71kpcg4xsd86vcpaz-oddities-1.0")
	caSelfRef   = store.Path("/nix/store/jn67ar0vavxlhc5jhcllwrx8cqv7jhy2-web-root")
	anotherHash = "1537n3zl3n6f5k6kzzq6m6wky0jm46jbxp2vs4dx8cc03many4vk"
)

func TestContentAddress_Check(t *testing.T) {
	type refs = []store.Path
	gnu := func(p store.Path) store.Path { return store.Path(strings.Replace(string(p), "/nix/", "/gnu/", 1)) }
	for _, c := range []struct {
		name, ca string
		path     store.Path
		refs     refs
		want     string // of the error
	}{
		{"text with a reference", caText, caTextPath, refs{caNARPath}, ""},
		{"text", caMotd, caMotdPath, nil, ""},
		{"flat", caFlat, caFlatPath, nil, ""},
		{"NAR", caNAR, caNARPath, nil, ""},
		{"NAR that refers to itself", caSelf, caSelfPath, refs{caSelfRef, caSelfPath}, ""},
		{"the same, the references in another order", caSelf, caSelfPath, refs{caSelfPath, caSelfRef}, ""},
		{"the same by Nix 2.34", caSelfNew, caSelfPath2, refs{caSelfPath2, caSelfRef}, ""},

		{"no reference where there was one", caText, caTextPath, nil, "an object of that content would be /nix/store/"},
		{"another reference", caText, caTextPath, refs{caMotdPath}, "would be"},
		{"one more reference", caText, caTextPath, refs{caNARPath, caMotdPath}, "would be"},
		{"a reference where there was none", caNAR, caNARPath, refs{caMotdPath}, "would be"},
		{"flat with a reference", caFlat, caFlatPath, refs{caMotdPath}, "can't have references"},
		{"text that refers to itself", caMotd, caMotdPath, refs{caMotdPath}, "can't refer to itself"},
		{"NAR that refers to itself, without that reference", caSelf, caSelfPath, refs{caSelfRef}, "would be"},
		{"NAR that refers to itself, without the other reference", caSelf, caSelfPath, refs{caSelfPath}, "would be"},
		{"NAR that refers to another of its name", caSelf, caSelfPath, refs{caSelfRef, caSelfPath2}, "would be"},
		{"NAR that refers to itself, where it didn't", caNAR, caNARPath, refs{caNARPath}, "would be"},
		{"another name", caMotd, caMotdPath + "x", nil, "would be"},
		{"another store", caMotd, gnu(caMotdPath), nil, "would be /gnu/store/"},
		{"another hash", "text:sha256:" + anotherHash, caMotdPath, nil, "would be"},
		{"text's hash as flat", strings.Replace(caMotd, "text:", "fixed:", 1), caMotdPath, nil, "would be"},
		{"text's hash as NAR", strings.Replace(caMotd, "text:", "fixed:r:", 1), caMotdPath, nil, "would be"},
		{"flat's hash as NAR", strings.Replace(caFlat, "fixed:", "fixed:r:", 1), caFlatPath, nil, "would be"},
		{"NAR's hash as flat", strings.Replace(caNAR, "fixed:r:", "fixed:", 1), caNARPath, nil, "would be"},
	} {
		ca, err := store.ParseContentAddress(c.ca)
		if err != nil {
			t.Fatal(err)
		}
		if ca.String() != c.ca {
			t.Errorf("%s: %s is written as %s", c.name, c.ca, ca)
		}
		err = ca.Check(c.path, c.refs)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", c.name, c.want, err)
		}
	}
	// Any other character in the hash part.
	ca, err := store.ParseContentAddress(caMotd)
	if err != nil {
		t.Fatal(err)
	}
	for i := range store.HashPartLen {
		b := []byte(caMotdPath)
		if at := len("/nix/store/") + i; b[at] == 'z' {
			b[at] = 'y'
		} else {
			b[at] = 'z'
		}
		if ca.Check(store.Path(b), nil) == nil {
			t.Errorf("%s is taken", b)
		}
	}
}

func TestParseContentAddress_Refuses(t *testing.T) {
	for _, s := range []string{
		"", "text", "text:", "text:sha256", "text:sha256:", "text:sha256:x", "text:sha1:4axwrn1qnl2hx4gzgi3dhn1wmjh8l7aq", "text:r:sha256:" + anotherHash,
		"fixed:" + anotherHash, "fixed:md5:d41d8cd98f00b204e9800998ecf8427e", "fixed:r:sha1:4axwrn1qnl2hx4gzgi3dhn1wmjh8l7aq", "fixed:git:sha256:" + anotherHash,
		"fixed:r:sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "source:sha256:" + anotherHash, " text:sha256:" + anotherHash, "text:sha256:" + anotherHash + " ",
	} {
		if ca, err := store.ParseContentAddress(s); err == nil {
			t.Errorf("%q: got %v", s, ca)
		}
	}
}
