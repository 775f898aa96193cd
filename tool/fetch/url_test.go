package fetch

import (
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://cache.example.org/nar/x.nar.xz":     "https://cache.example.org/nar/x.nar.xz",
		"https://me:secret@cache.example.org/x":      "https://***@cache.example.org/x",
		"https://token@cache.example.org/x?a=secret": "https://***@cache.example.org/x?***",
		"https://cache.example.org/x#secret":         "https://cache.example.org/x#***",
		"https:/me:secret@host/x":                    "https:/***@host/x",
		"me:secret@host/x":                           "me:***@host/x",
		"file:../cache":                              "file:../cache",
		"file:/a@b/cache":                            "file:/a@b/cache",
		"cache?token=secret":                         "cache?***",

		"http://me:sec ret@host/x":            `"http://***@host/x"`,
		"cache%zz?token=secret":               `"cache%zz?***"`,
		"cache%zz#secret":                     `"cache%zz#***"`,
		"cache%zz?token=secret:1":             `"cache%zz?***"`,
		"https://host/%zz?token=secret":       `"https://host/%zz?***"`,
		"https://me:sec?ret@host/%zz":         `"https:***"`,
		"https://me:secret@host/%zz":          `"https://***@host/%zz"`,
		"https://host/%zz?token=some@secret":  `"https:***"`,
		"https://me:x@host/%zz?token=s#ecret": `"https://***@host/%zz?***"`,
		"me%zz:secret@host":                   `"***@host"`,
		"http://host\n/x":                     `"http://host\n/x"`,
		":":                                   `":"`,
		"":                                    "",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

// Wherever a secret stands that could be a credential, and whatever stands
// about it, well formed or not, nobody sees it.
func FuzzRedact(f *testing.F) {
	for _, s := range []string{"", "a", "%zz", " ", "?", "#", "@", ":", "\n", "\x00", "[", "é", "REDACTED"} {
		f.Add(s, s)
		f.Add(s, "")
		f.Add("x", s)
	}
	const secret = "s3CrEt"
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.Contains(before+after, secret) {
			return
		}
		s := before + secret + after
		urls := []string{
			"https://host/" + "?token=" + s,
			"https://host/%zz?token=" + s,
			"cache?token=" + s,
			"cache%zz?" + s,
			"cache%zz#" + s,
			"file:cache?" + s,
			"https://host/#" + s,
			"https://me:pw@host:80/x?" + s + "#" + s,
		}
		if !strings.Contains(s, "/") { // which ends the part of a URL that may hold a password
			urls = append(urls, "https://me:"+s+"@host/x", "https://"+s+"@host/%zz", "https://me:"+s+"@host/%zz?a=b", "https:/me:"+s+"@host", "me:"+s+"@host/x")
		}
		for _, u := range urls {
			if got := Redact(u); strings.Contains(got, secret) {
				t.Errorf("Redact(%q) = %q", u, got)
			}
		}
	})
}
