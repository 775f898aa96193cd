package lock

import (
	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/narfile"
	"github.com/rules-strata/rules_strata/tool/store"
)

// NAR is the NAR of a store path of l, which the client fetches when it is opened: from a mirror, or from the cache. The
// client's own folder must be the lock's.
func (l *Lock) NAR(client *fetch.Client, path store.Path) layer.NAR {
	e := l.Paths[path]
	file := client.Alternatives(l.URLs(e), e.FileSize)
	return layer.NAR{
		File: narfile.File{
			StorePath: path, Compression: e.Compression, FileHash: e.FileHash, FileSize: e.FileSize,
			NarHash: e.NarHash, NarSize: e.NarSize,
		},
		Open: file.Open, Reject: file.Reject,
	}
}
