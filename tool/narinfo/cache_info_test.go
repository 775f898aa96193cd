package narinfo_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/narinfo"
)

func TestParseCacheInfo(t *testing.T) {
	for _, tc := range []struct {
		text string
		want narinfo.CacheInfo
		err  string
	}{
		{"", narinfo.CacheInfo{"", 50, false}, ""},
		{"StoreDir: /nix/store\n", narinfo.CacheInfo{"/nix/store", 50, false}, ""},
		{"StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n", narinfo.CacheInfo{"/nix/store", 40, true}, ""},
		{"StoreDir: /gnu/store\nWantMassQuery: 0\nPriority: 100\n", narinfo.CacheInfo{"/gnu/store", 100, false}, ""},
		{"Priority:-1\r\nStoreDir:/opt/store \r\n\nFuture: x", narinfo.CacheInfo{"/opt/store", -1, false}, ""},
		{"WantMassQuery: yes\n", narinfo.CacheInfo{"", 50, false}, ""},
		{"Priority: high\n", narinfo.CacheInfo{}, `want a number as Priority, found "high"`},
		{"Priority: 99999999999999999999\n", narinfo.CacheInfo{}, "want a number as Priority"},
		{"StoreDir: nix/store\n", narinfo.CacheInfo{}, "want an absolute path"},
		{"StoreDir: /nix/../gnu/store\n", narinfo.CacheInfo{}, "want a clean path"},
		{"StoreDir: /nix/store\nStoreDir: /gnu/store\n", narinfo.CacheInfo{}, "StoreDir is /nix/store and /gnu/store"},
		{"<html>\n", narinfo.CacheInfo{}, "want lines of \"Field: value\""},
		{"\xff\xfe: x\n", narinfo.CacheInfo{}, "not text"},
	} {
		got, err := narinfo.ParseCacheInfo([]byte(tc.text))
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%q: error %v, want one with %q", tc.text, err, tc.err)
			}
		} else if err != nil || got != tc.want {
			t.Errorf("%q: got %+v, %v; want %+v", tc.text, got, err, tc.want)
		}
	}
}

// Real caches of Nix and Guix.
func TestParseCacheInfo_Real(t *testing.T) {
	files, err := filepath.Glob(testdata + "/*/*/nix-cache-info")
	if err != nil || len(files) < 14 {
		t.Fatalf("found %d caches; %v", len(files), err)
	}
	for _, file := range files {
		if strings.Contains(file, "22-other-store-dir") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := narinfo.CacheInfo{"/nix/store", 50, false}
		if strings.Contains(file, "/guix") {
			want = narinfo.CacheInfo{"/gnu/store", 100, false}
		}
		if got, err := narinfo.ParseCacheInfo(b); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", file, got, err, want)
		}
	}
}
