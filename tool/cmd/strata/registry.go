package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/pflag"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/registry"
)

// registryFlags are the flags of every command that speaks to registries.
type registryFlags struct {
	insecure []string
	jobs     int
	quiet    bool
	json     bool
	network  fetchFlags
}

func (f *registryFlags) register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.insecure, "insecure", nil, "a registry `HOST[:PORT]` with which plain HTTP may be spoken; repeatable (loopback needs no leave)")
	fl.IntVar(&f.jobs, "jobs", 0, "how many blobs `N` are under way at once (default 8)")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing on the way")
	fl.BoolVar(&f.json, "json", false, "print what was done as JSON")
	f.network.register(fl)
}

// client returns the client that the flags and the environment say. Its progress goes to t.
func (f *registryFlags) client(credentials *fetch.Credentials, t *transfer, chunk int64) *registry.Client {
	return registry.New(registry.Options{
		Keychain:  registry.Keychain(credentials),
		Insecure:  f.insecure,
		UserAgent: userAgent(),
		Jobs:      f.jobs,
		ChunkSize: chunk,
		Progress:  t.show,
	})
}

// familiarName is a name as people write it: docker's own registry has one that nobody uses.
func familiarName(n interface{ String() string }) string {
	s := n.String()
	if rest, ok := strings.CutPrefix(s, name.DefaultRegistry+"/"); ok {
		return "docker.io/" + rest
	}
	return s
}

// tally adds up what became of blobs.
type tally struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
}

func tallies(blobs []registry.BlobResult) map[registry.State]*tally {
	out := map[registry.State]*tally{}
	for _, b := range blobs {
		t := out[b.State]
		if t == nil {
			t = &tally{}
			out[b.State] = t
		}
		t.Count++
		t.Bytes += b.Descriptor.Size
	}
	return out
}

// of returns the tally of a state, an empty one if there were none.
func of(t map[registry.State]*tally, s registry.State) tally {
	if t[s] == nil {
		return tally{}
	}
	return *t[s]
}

func (t tally) String() string { return fmt.Sprintf("%d (%s)", t.Count, formatBytes(t.Bytes)) }

// ended takes the progress off the terminal before an error is shown.
func ended(ctx context.Context, t *transfer, err error) error {
	t.end("")
	return stopped(ctx, err)
}

// printLines prints each on a line of its own.
func printLines(w io.Writer, lines []string) error {
	for _, l := range lines {
		if _, err := fmt.Fprintln(w, l); err != nil {
			return err
		}
	}
	return nil
}
