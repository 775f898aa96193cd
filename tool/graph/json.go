package graph

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/store"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

func parseJSON(text []byte) (*Graph, error) {
	doc, err := strictjson.Parse(text)
	if err != nil {
		return nil, err
	}
	b := newBuilder()
	if doc.IsList() {
		err = doc.Each(b.element)
	} else {
		err = b.object(doc)
	}
	if err != nil {
		return nil, err
	}
	return b.finish(false)
}

// members are the fields of an object of Nix', by name. Nix adds fields from version to version, so unknown ones are no errors.
func members(v *strictjson.Value) (map[string]*strictjson.Value, error) {
	m := map[string]*strictjson.Value{}
	return m, v.Members(func(name string, v *strictjson.Value) error {
		if !v.IsNull() { // null means what a missing field means
			m[name] = v
		}
		return nil
	})
}

// element reads an element of the list that nix path-info (until 2.18) or nix build writes.
func (b *builder) element(v *strictjson.Value) error {
	if v.IsString() { // nix build, of a store path
		return b.opaque(v)
	}
	m, err := members(v)
	if err != nil {
		return err
	}
	switch {
	case m["outputs"] != nil:
		return m["outputs"].Members(func(name string, v *strictjson.Value) error {
			if v.IsNull() {
				return v.Errorf("this output isn't built: no store path is known")
			}
			p, err := b.jsonPath(v, "")
			if err != nil {
				return err
			}
			return wrap(v, b.output(Output{Name: name, Path: p}))
		})
	case m["path"] == nil:
		return v.Errorf("want a store path as nix path-info tells it (path, references) or a derivation as nix build does (outputs)")
	case m["valid"] != nil: // Nix 2.8 says so of what it hasn't got.
		return v.Errorf("Nix says that its store doesn't have this path")
	case len(m) == 1: // nix build of 2.8, of a store path
		return b.opaque(m["path"])
	}
	p, err := b.jsonPath(m["path"], "")
	if err != nil {
		return err
	}
	return b.info(p, "", v, m)
}

func (b *builder) opaque(v *strictjson.Value) error {
	p, err := b.jsonPath(v, "")
	if err != nil {
		return err
	}
	return wrap(v, b.output(Output{Path: p}))
}

// object reads what nix path-info writes since 2.19: formats 1 (paths by their whole names), 2 and later.
func (b *builder) object(doc *strictjson.Value) error {
	m, err := members(doc)
	if err != nil {
		return err
	}
	infos, dir := doc, ""
	if m["info"] != nil {
		infos = m["info"]
		if m["version"] == nil || m["storeDir"] == nil {
			return doc.Errorf(`want "version" and "storeDir" beside "info"`)
		}
		version, err := m["version"].Int()
		if err != nil {
			return err
		}
		if version != 2 && version != 3 {
			return m["version"].Errorf("format %d of nix path-info is not known; use --json-format 2", version)
		}
		if dir, err = m["storeDir"].Text(); err != nil {
			return err
		}
		if err := store.CheckDir(dir); err != nil {
			return wrap(m["storeDir"], err)
		}
	}
	return infos.Members(func(name string, v *strictjson.Value) error {
		p, err := b.pathIn(name, dir)
		if err != nil {
			return wrap(v, err)
		}
		if v.IsNull() {
			return v.Errorf("Nix says that its store doesn't have this path")
		}
		m, err := members(v)
		if err != nil {
			return err
		}
		return b.info(p, dir, v, m)
	})
}

// info reads what nix path-info says of p. Where dir is set, paths are base names in it.
func (b *builder) info(p store.Path, dir string, v *strictjson.Value, m map[string]*strictjson.Value) error {
	n := &Node{Path: p}
	if m["references"] == nil {
		return v.Errorf("references missing")
	}
	err := m["references"].Each(func(v *strictjson.Value) error {
		r, err := b.jsonPath(v, dir)
		n.References = append(n.References, r)
		return err
	})
	if err != nil {
		return err
	}
	if f := m["narHash"]; f != nil {
		if err := strictjson.Parsed(&n.NarHash, parseHash)(f); err != nil {
			return err
		}
	}
	if f := m["narSize"]; f != nil {
		if n.NarSize, err = f.Int(); err != nil {
			return err
		}
		if n.NarSize < 0 {
			return f.Errorf("want a number of bytes, found %d", n.NarSize)
		}
	}
	if f := m["deriver"]; f != nil {
		deriver, err := b.jsonPath(f, dir)
		if err != nil {
			return err
		}
		n.Deriver = deriver.Base()
	}
	if f := m["ca"]; f != nil {
		if n.CA, err = contentAddress(f); err != nil {
			return err
		}
	}
	if f := m["signatures"]; f != nil {
		err := f.Each(func(v *strictjson.Value) error {
			s, err := signature(v)
			n.Signatures = append(n.Signatures, s)
			return err
		})
		if err != nil {
			return err
		}
	}
	return b.node(n, func(err error) error { return wrap(v, err) })
}

func (b *builder) jsonPath(v *strictjson.Value, dir string) (store.Path, error) {
	s, err := v.Text()
	if err != nil {
		return "", err
	}
	p, err := b.pathIn(s, dir)
	return p, wrap(v, err)
}

func (b *builder) pathIn(s, dir string) (store.Path, error) {
	if dir != "" {
		if strings.Contains(s, "/") {
			return "", fmt.Errorf("want a base name in %s, found %.300q", dir, s)
		}
		s = dir + "/" + s
	}
	return b.path(s)
}

// The methods of a content address in format 2, and how narinfo files write them.
var methods = map[string]store.ContentMethod{
	"text": store.ContentText, "flat": store.ContentFlat, "nar": store.ContentNAR, "git": "fixed:git:",
}

// contentAddress reads "fixed:r:sha256:…", or what format 2 has for it: {"method": "nar", "hash": "sha256-…"}.
func contentAddress(v *strictjson.Value) (string, error) {
	if v.IsString() {
		s, err := v.Text()
		if err == nil && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) >= 0 {
			err = v.Errorf("want printable ASCII without spaces, found %.80q", s)
		}
		return s, err
	}
	m, err := members(v)
	if err != nil {
		return "", err
	}
	if m["method"] == nil || m["hash"] == nil {
		return "", v.Errorf(`want "method" and "hash"`)
	}
	name, err := m["method"].Text()
	if err != nil {
		return "", err
	}
	method, ok := methods[name]
	if !ok {
		return "", m["method"].Errorf("unknown method %.40q of content addressing", name)
	}
	hash, err := m["hash"].Text()
	if err != nil {
		return "", err
	}
	if h, err := store.ParseHash(hash); err == nil {
		return store.ContentAddress{Method: method, Hash: h}.String(), nil
	}
	// Another algorithm: strata knows none, but who copies the path may.
	algorithm, digest, ok := strings.Cut(hash, "-")
	if !ok || strings.HasPrefix(hash, "sha256") || strings.Trim(hash, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/=-") != "" {
		return "", m["hash"].Errorf("want a hash such as sha256-<base64>, found %.100q", hash)
	}
	return string(method) + algorithm + ":" + digest, nil
}

// signature reads "name:base64", or what formats behind 2 have for it: {"keyName": …, "sig": …}.
func signature(v *strictjson.Value) (s narinfo.Signature, err error) {
	if v.IsString() {
		err = strictjson.Parsed(&s, narinfo.ParseSignature)(v)
		return s, err
	}
	m, err := members(v)
	if err != nil {
		return s, err
	}
	if m["keyName"] == nil || m["sig"] == nil {
		return s, v.Errorf(`want "keyName" and "sig"`)
	}
	name, err := m["keyName"].Text()
	if err != nil {
		return s, err
	}
	err = strictjson.Parsed(&s, func(sig string) (narinfo.Signature, error) { return narinfo.ParseSignature(name + ":" + sig) })(m["sig"])
	return s, err
}

// wrap puts v's place before err, unless it has one or is nil.
func wrap(v *strictjson.Value, err error) error {
	if err == nil || errors.As(err, new(*strictjson.Error)) {
		return err
	}
	return v.Errorf("%w", err)
}
