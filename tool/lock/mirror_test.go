package lock

import (
	"slices"
	"testing"
)

func TestURLs(t *testing.T) {
	l := &Lock{Mirrors: map[string][]string{
		"https://a.example.org":       {"https://m1.example.org/a", "file:../m2"},
		"https://a.example.org/inner": {"https://m3.example.org", "https://m1.example.org/a/inner", "https://a.example.org/inner"},
		"file:cache":                  {"http://m4.example.org"},
	}}
	for _, tc := range []struct {
		url  string
		want []string
	}{
		{"https://a.example.org/nar/x.nar.xz?y", []string{"https://m1.example.org/a/nar/x.nar.xz?y", "file:../m2/nar/x.nar.xz?y"}},
		{"https://a.example.org/inner/nar/x", []string{"https://m1.example.org/a/inner/nar/x", "file:../m2/inner/nar/x", "https://m3.example.org/nar/x"}},
		{"file:cache/nar/x", []string{"http://m4.example.org/nar/x"}},
		{"file:cache2/nar/x", nil},
		{"https://a.example.org2/nar/x", nil},
		{"https://b.example.org/nar/x", nil},
	} {
		if got := l.URLs(&Path{URL: tc.url}); !slices.Equal(got, append(tc.want, tc.url)) {
			t.Errorf("%s: got %v, want %v and the URL itself", tc.url, got, tc.want)
		}
	}
}
