package strictjson

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParse_Refuses(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", "line 1, column 1: the document ends too early"},
		{"{", "line 1, column 2: the document ends too early"},
		{"{\n  \"a\": 1,\n", "line 3, column 1: the document ends too early"},
		{"{} {}", "line 1, column 4: more follows"},
		{"{}\nx", "line 2, column 1: more follows"},
		{"{\n  \"a\": 1\n  \"b\": 2\n}", "line 3, column 3: invalid character '\"' after object key:value pair"},
		{"{\n  \"a\": 1,\n}", "line 3, column 1: invalid character '}'"},
		{"[1, 2,]", "line 1, column 7: invalid character ']'"},
		{"{\n  // why\n}", "line 2, column 3: invalid character '/'"},
		{"{'a': 1}", "line 1, column 2: invalid character '\\''"},
		{"{1: 1}", "line 1, column 2: "},
		{"[nul]", "line 1, column 2: invalid character ']' in literal null"},
		{"{\"a\": \"\xff\"}", "line 1, column 8: not UTF-8"},
		{"{\"ä\": 1,\n \"ä\": 2}", "line 2, column 2: \"ä\" is there twice"},
		{"[\"ä\", \x01]", "line 1, column 7: invalid character"},
		{"[,1]", "line 1, column 2: invalid character ','"},
		{`{"a":,}`, "line 1, column 6: invalid character ','"},
		{`{"a" 1}`, "line 1, column 6: invalid character '1'"},
		{strings.Repeat("[", 100), "nested more than 64 deep"},
	} {
		_, err := Parse([]byte(tc.in))
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) && !strings.HasSuffix(err.Error(), tc.want) {
			t.Errorf("%q: error %v, want one with %q", tc.in, err, tc.want)
		}
	}
}

func TestFields(t *testing.T) {
	odd := false
	read := func(in string) (name string, n int64, err error) {
		v, err := Parse([]byte(in))
		if err != nil {
			return "", 0, err
		}
		err = v.Fields(
			Field{Name: "name", Read: StringInto(&name)},
			Field{Name: "n", Optional: true, Read: func(v *Value) (err error) { n, err = v.Int(); return err }},
			Field{Name: "list", Optional: true, Read: func(v *Value) error {
				return v.Each(func(e *Value) error {
					return e.Members(func(_ string, m *Value) error {
						var ok bool
						return m.Fields(Field{Name: "ok", Read: func(v *Value) (err error) { ok, err = v.Bool(); odd = odd || !ok; return err }})
					})
				})
			}},
			Field{Name: "odd", Optional: true, Read: func(*Value) error { return fmt.Errorf("never") }},
		)
		return name, n, err
	}
	if name, n, err := read(`{"n": -7, "list": [{"x": {"ok": true}}], "name": "a"}`); err != nil || name != "a" || n != -7 || odd {
		t.Errorf("%q, %d, %v", name, n, err)
	}
	for _, tc := range []struct{ in, want string }{
		{`[]`, "line 1, column 1: want an object, found a list"},
		{`{}`, "line 1, column 1: name is missing"},
		{"{\n\"Name\": \"a\"}", "line 2, column 9: Name: unknown field; known are name, n, list, odd"},
		{`{"name": 1}`, "line 1, column 10: name: want a string, found a number"},
		{`{"name": null}`, "line 1, column 10: name: want a string, found null"},
		{`{"name": "a", "n": "1"}`, "n: want a number, found a string"},
		{`{"name": "a", "n": 1.5}`, "n: want an integer below 2^63, found 1.5"},
		{`{"name": "a", "n": 9223372036854775808}`, "n: want an integer below 2^63, found 9223372036854775808"},
		{`{"name": "a", "list": {}}`, "list: want a list, found an object"},
		{`{"name": "a", "list": [{}, {"x-y": {"ok": 0}}]}`, `line 1, column 43: list[1]["x-y"].ok: want true or false, found a number`},
		{`{"name": "a", "odd": 1}`, "line 1, column 22: odd: never"},
	} {
		if _, _, err := read(tc.in); err == nil || !strings.HasSuffix(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.in, err, tc.want)
		}
	}
}

// plain is what encoding/json would have made of v.
func plain(v *Value) any {
	switch v.kind {
	case kindArray:
		out := []any{}
		v.Each(func(e *Value) error { out = append(out, plain(e)); return nil })
		return out
	case kindObject:
		out := map[string]any{}
		v.Members(func(name string, m *Value) error { out[name] = plain(m); return nil })
		return out
	}
	return v.scalar
}

// What Parse takes, encoding/json takes too, and makes the same of it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a": [1, -2.5e3, true, null, "x\u00e4\n"], "b": {}}`, `[]`, `"x"`, "{\n\t}", `{"a":1,"a":2}`, `[1,]`, "[\"\xff\"]", `{"a" 1}`, `[1 2]`, `{"a":,}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Parse(b)
		if err != nil {
			return
		}
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		if got := plain(v); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, encoding/json makes %v", got, want)
		}
	})
}
