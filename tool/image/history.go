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
// lists, in bytes: some 250 paths. So the config of an image of [MaxLayers]
// layers stays well below [MaxMetadataSize].
const maxHistoryComment = 16 << 10

// The comment of a history entry is "store paths: A, B, C" or, where they
// don't all fit, "store paths: A, B, and 7 more". No store path has a comma.
const (
	commentPrefix = "store paths: "
	commentSep    = ", "
	commentAnd    = "and "
	commentMore   = " more"
)

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
			if b.Len()+len(p.Path) > maxHistoryComment {
				b.WriteString(commentAnd + strconv.Itoa(len(l.StorePaths)-i) + commentMore)
				break
			}
		}
		b.WriteString(string(p.Path))
	}
	return b.String()
}

// ParseHistoryComment reads the comment of a history entry that [Build] made:
// the store paths that it lists, and how many more the layer has. An empty
// comment is a layer without store paths.
func ParseHistoryComment(comment string) (paths []store.Path, more int, err error) {
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
		p, err := store.ParsePath(item)
		if err != nil {
			return nil, 0, fmt.Errorf("history comment: %w", err)
		}
		paths = append(paths, p)
	}
	return paths, more, nil
}
