package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/pflag"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/registry"
)

// trustFlags say which registries are spoken with though the machine doesn't know that they may be.
type trustFlags struct {
	insecure []string
	caFiles  []string
}

func (f *trustFlags) register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.insecure, "insecure", nil, "a registry `HOST[:PORT]` with which plain HTTP may be spoken; repeatable (loopback needs no leave)")
	fl.StringArrayVar(&f.caFiles, "ca-file", nil, "a `FILE` of certificates (PEM) whose authorities are trusted beside the system's; repeatable")
}

// authorities are the system's with those of the files; nil for the system's alone.
func (f *trustFlags) authorities() (*x509.CertPool, error) {
	if len(f.caFiles) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	for _, file := range f.caFiles {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		if !pool.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("--ca-file: %s holds no certificate: want PEM", file)
		}
	}
	return pool, nil
}

// registryFlags are the flags of every command that speaks to registries.
type registryFlags struct {
	trust   trustFlags
	jobs    int
	json    bool
	network fetchFlags
}

func (f *registryFlags) register(fl *pflag.FlagSet) {
	f.trust.register(fl)
	fl.IntVar(&f.jobs, "jobs", 0, "how many blobs `N` are under way at once (default 8)")
	fl.BoolVar(&f.json, "json", false, "print what was done as JSON")
	f.network.register(fl)
}

// client returns the client that the flags and the environment say. Its progress goes to t.
func (f *registryFlags) client(credentials *fetch.Credentials, t *transfer, chunk int64) (*registry.Client, error) {
	authorities, err := f.trust.authorities()
	if err != nil {
		return nil, err
	}
	return registry.New(registry.Options{
		Keychain:  registry.Keychain(credentials),
		Insecure:  f.trust.insecure,
		RootCAs:   authorities,
		UserAgent: userAgent(),
		Jobs:      f.jobs,
		ChunkSize: chunk,
		Progress:  t.show,
	}), nil
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
