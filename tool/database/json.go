package database

import (
	"fmt"
	"strconv"

	"github.com/rules-strata/rules_strata/tool/store"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// ParsePath reads what is known of one store path, as Bazel's action says it: an object with path, nar_hash ("sha256:<64 hex>"), nar_size (bytes, a
// string) and references (store paths); signatures and content_address may be absent.
func ParsePath(b []byte) (Path, error) {
	var p Path
	v, err := strictjson.Parse(b)
	if err != nil {
		return p, err
	}
	err = v.Fields(
		strictjson.Field{Name: "path", Read: strictjson.Parsed(&p.Path, store.ParsePath)},
		strictjson.Field{Name: "nar_hash", Read: strictjson.Parsed(&p.NarHash, store.ParseHash)},
		strictjson.Field{Name: "nar_size", Read: strictjson.Parsed(&p.NarSize, parseSize)},
		strictjson.Field{Name: "references", Read: func(v *strictjson.Value) error {
			return v.Each(func(v *strictjson.Value) error {
				var to store.Path
				err := strictjson.Parsed(&to, store.ParsePath)(v)
				p.References = append(p.References, to)
				return err
			})
		}},
		strictjson.Field{Name: "signatures", Optional: true, Read: func(v *strictjson.Value) error {
			return v.Each(func(v *strictjson.Value) error {
				s, err := v.Text()
				p.Signatures = append(p.Signatures, s)
				return err
			})
		}},
		strictjson.Field{Name: "content_address", Read: strictjson.StringInto(&p.ContentAddress), Optional: true},
	)
	return p, err
}

func parseSize(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q: want a number of bytes", s)
	}
	return n, nil
}
