package lock

import (
	"maps"
	"slices"
)

// URLs are where the file is to be had that holds p's NAR, each once and in the order in which to
// try: at the mirrors of its cache, then where p.URL says. Relative file: URLs stay relative.
// rules/private/mirrors.bzl says the same in Starlark; keep the two alike.
func (l *Lock) URLs(p *Path) []string {
	var urls []string
	for _, cache := range slices.Sorted(maps.Keys(l.Mirrors)) {
		rel, ok := below(cache, p.URL)
		if !ok {
			continue
		}
		for _, mirror := range l.Mirrors[cache] {
			if url := join(mirror, rel); url != p.URL && !slices.Contains(urls, url) {
				urls = append(urls, url)
			}
		}
	}
	return append(urls, p.URL)
}
