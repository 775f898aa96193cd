package lock

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/project"
)

func TestParseCacheInfo(t *testing.T) {
	for _, tc := range []struct {
		text string
		want cacheInfo
		err  string
	}{
		{"", cacheInfo{"", 50, false}, ""},
		{"StoreDir: /nix/store\n", cacheInfo{"/nix/store", 50, false}, ""},
		{"StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n", cacheInfo{"/nix/store", 40, true}, ""},
		{"StoreDir: /gnu/store\nWantMassQuery: 0\nPriority: 100\n", cacheInfo{"/gnu/store", 100, false}, ""},
		{"Priority:-1\r\nStoreDir:/opt/store \r\n\nFuture: x", cacheInfo{"/opt/store", -1, false}, ""},
		{"WantMassQuery: yes\n", cacheInfo{"", 50, false}, ""},
		{"Priority: high\n", cacheInfo{}, `want a number as Priority, found "high"`},
		{"Priority: 99999999999999999999\n", cacheInfo{}, "want a number as Priority"},
		{"StoreDir: nix/store\n", cacheInfo{}, "want an absolute path"},
		{"StoreDir: /nix/../gnu/store\n", cacheInfo{}, "want a clean path"},
		{"StoreDir: /nix/store\nStoreDir: /gnu/store\n", cacheInfo{}, "StoreDir is /nix/store and /gnu/store"},
		{"<html>\n", cacheInfo{}, "want lines of \"Field: value\""},
		{"\xff\xfe: x\n", cacheInfo{}, "not text"},
	} {
		got, err := parseCacheInfo([]byte(tc.text))
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
	files, err := filepath.Glob(webData + "/*/*/nix-cache-info")
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
		want := cacheInfo{"/nix/store", 50, false}
		if strings.Contains(file, "/guix/") {
			want = cacheInfo{"/gnu/store", 100, false}
		}
		if got, err := parseCacheInfo(b); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", file, got, err, want)
		}
	}
}

// The project file's order is the order, whatever the caches say of themselves.
func TestMake_PriorityIsTheProjects(t *testing.T) {
	key := newTestKey(t, "k")
	first, second := newTestCache(t), newTestCache(t)
	first.write("nix-cache-info", []byte("StoreDir: /nix/store\nPriority: 90\n"))
	second.write("nix-cache-info", []byte("StoreDir: /nix/store\nPriority: 10\nWantMassQuery: 1\n"))
	for _, c := range []*testCache{first, second} {
		c.put(newObject(t, "app"), key)
	}
	for _, order := range [][]*testCache{{first, second}, {second, first}} {
		l, err := makeLock(t, projectOf(storePath("app"), []narinfo.PublicKey{key.public},
			project.Cache{URL: "file://" + order[0].dir}, project.Cache{URL: "file://" + order[1].dir}), ".")
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Paths[storePath("app")].URL; !strings.HasPrefix(got, "file://"+order[0].dir+"/") {
			t.Errorf("taken from %s, want it from the first cache, %s", got, order[0].dir)
		}
	}
}
