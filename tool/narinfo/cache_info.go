package narinfo

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rules-strata/rules_strata/tool/store"
)

// CacheInfoFile is the file at the top of every binary cache (Nix manual, "Binary cache").
const CacheInfoFile = "nix-cache-info"

// MaxCacheInfo bounds it, in bytes. Real ones have some 60.
const MaxCacheInfo = 64 << 10

// CacheInfo is what a cache says of itself.
type CacheInfo struct {
	// StoreDir is the directory of its store paths; "" if it doesn't say.
	StoreDir string
	// Priority is what Nix orders its substituters by, the lowest first; 50 if
	// the cache doesn't say. Here the order is that of the project file, which somebody has thought about: so a
	// lock doesn't change when a cache says something else of itself.
	Priority int
	// WantMassQuery says that the cache likes being asked for much at once.
	WantMassQuery bool
}

// ParseCacheInfo reads lines of "Field: value". As Nix does, it ignores fields
// that it has no use for, and white space around values.
func ParseCacheInfo(b []byte) (CacheInfo, error) {
	info := CacheInfo{Priority: 50}
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
		value = strings.TrimSpace(value)
		switch name {
		case "StoreDir":
			if info.StoreDir != "" && info.StoreDir != value {
				return info, fmt.Errorf("StoreDir is %s and %s", info.StoreDir, value)
			}
			if err := store.CheckDir(value); err != nil {
				return info, err
			}
			info.StoreDir = value
		case "Priority":
			n, err := strconv.Atoi(value)
			if err != nil {
				return info, fmt.Errorf("want a number as %s, found %.40q", name, value)
			}
			info.Priority = n
		case "WantMassQuery":
			info.WantMassQuery = value == "1"
		}
	}
	return info, nil
}
