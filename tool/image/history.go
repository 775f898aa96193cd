package image

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// HistoryCreatedBy is the created_by of every history entry that [Build] makes.
const HistoryCreatedBy = "strata"

// maxHistoryComment bounds the store paths that one layer's history entry
// lists, in bytes: some 120 paths. So the config of an image of [MaxLayers]
// layers stays well below [MaxMetadataSize].
const maxHistoryComment = 16 << 10

// The comment of a history entry is "store paths: A, B, C" or, where they
// don't all fit, "store paths: A, B, and 7 more". Behind each store path stands the
// hash of its NAR, as Nix and Guix write it: "/nix/store/… sha256:<52 characters>".
// So an image that is built on this one knows what is there without its
// layers. No store path has a comma or a space.
const (
	commentPrefix  = "store paths: "
	commentSep     = ", "
	commentHashSep = " sha256:"
	commentAnd     = "and "
	commentMore    = " more"
)

// HistoryPath is a store path that a history entry tells of.
type HistoryPath struct {
	Path store.Path
	// NarHash is the hash of its NAR; zero where the entry doesn't tell it.
	NarHash store.Hash
}

// historyComment names the layer's store paths; what doesn't fit is counted.
func historyComment(l *digestfile.File) string {
	if len(l.StorePaths) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(commentPrefix)
	for i, p := range l.StorePaths {
		if i > 0 {
			b.WriteString(commentSep)
			if b.Len()+len(p.Path)+len(commentHashSep)+hashLen > maxHistoryComment {
				b.WriteString(commentAnd + strconv.Itoa(len(l.StorePaths)-i) + commentMore)
				break
			}
		}
		b.WriteString(string(p.Path))
		b.WriteString(commentHashSep)
		b.WriteString(p.NarHash.NixBase32())
	}
	return b.String()
}

// hashLen is the length of a SHA-256 in Nix's base 32.
const hashLen = 52

// ParseHistoryComment reads the comment of a history entry that [Build] made:
// the store paths that it lists, and how many more the layer has. An empty
// comment is a layer without store paths.
func ParseHistoryComment(comment string) (paths []HistoryPath, more int, err error) {
	if comment == "" {
		return nil, 0, nil
	}
	list, ok := strings.CutPrefix(comment, commentPrefix)
	if !ok {
		return nil, 0, fmt.Errorf("history comment %.40q: want it to begin with %q", comment, commentPrefix)
	}
	items := strings.Split(list, commentSep)
	if n, ok := strings.CutPrefix(items[len(items)-1], commentAnd); ok {
		n, ok = strings.CutSuffix(n, commentMore)
		if more, err = strconv.Atoi(n); !ok || err != nil || more < 1 {
			return nil, 0, fmt.Errorf("history comment: %q: want %qN%q at the end", items[len(items)-1], commentAnd, commentMore)
		}
		items = items[:len(items)-1]
	}
	for _, item := range items {
		var p HistoryPath
		text, hash, hashed := strings.Cut(item, commentHashSep)
		if p.Path, err = store.ParsePath(text); err == nil && hashed {
			p.NarHash, err = store.ParseHash(strings.TrimPrefix(commentHashSep, " ") + hash)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("history comment: %w", err)
		}
		paths = append(paths, p)
	}
	return paths, more, nil
}
