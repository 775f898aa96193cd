package lock

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/rules-strata/rules_strata/tool/store"
)

// cacheInfoFile is the file at the top of every binary cache (Nix manual, "Binary cache").
const cacheInfoFile = "nix-cache-info"

// maxCacheInfo bounds it, in bytes. Real ones have some 60.
const maxCacheInfo = 64 << 10

// cacheInfo is what a cache says of itself.
type cacheInfo struct {
	// storeDir is the directory of its store paths; "" if it doesn't say.
	storeDir string
}

// parseCacheInfo reads lines of "Field: value". As Nix does, it ignores fields
// that it has no use for, and white space around values.
func parseCacheInfo(b []byte) (cacheInfo, error) {
	var info cacheInfo
	if !utf8.Valid(b) {
		return info, fmt.Errorf("not text")
	}
	for line := range bytes.Lines(b) {
		name, value, ok := strings.Cut(string(line), ":")
		if !ok {
			if strings.TrimSpace(name) == "" {
				continue
			}
			return info, fmt.Errorf("want lines of \"Field: value\", found %.80q", line)
		}
		if name != "StoreDir" {
			continue
		}
		dir := strings.TrimSpace(value)
		if info.storeDir != "" && info.storeDir != dir {
			return info, fmt.Errorf("StoreDir is %s and %s", info.storeDir, dir)
		}
		if err := store.CheckDir(dir); err != nil {
			return info, err
		}
		info.storeDir = dir
	}
	return info, nil
}
