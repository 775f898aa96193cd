package lock

import (
	"strings"
	"testing"

	"github.com/rules-strata/rules_strata/tool/narinfo"
	"github.com/rules-strata/rules_strata/tool/project"
)

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
