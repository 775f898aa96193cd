package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/layer"
	"github.com/rules-strata/rules_strata/tool/lock"
	"github.com/rules-strata/rules_strata/tool/ondemand"
	"github.com/rules-strata/rules_strata/tool/project"
	"github.com/rules-strata/rules_strata/tool/serve"
)

type serveFlags struct {
	listen         string
	addressFile    string
	images         []string
	project        string
	channel        string
	refresh        time.Duration
	cache          string
	cacheSize      byteSize
	maxImageSize   byteSize
	maxLayers      int
	compression    string
	builds         int
	rate           float64
	maxConnections int
	grace          time.Duration
	json           bool
	network        fetchFlags
}

func newServeCommand() *cobra.Command {
	f := serveFlags{cacheSize: 10 << 30, maxImageSize: 8 << 30}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve images to pull: built ones, and packages by name",
		Long: `Serves images to docker, podman, containerd and all that pull from a registry.

With a project file, a repository's name is a list of packages, and the image is made when it
is asked for: shell/git/htop has a shell (bash and coreutils), git and htop. Names are
those of strata.json's roots, or are looked up in the store-paths list of a channel; the tag is the channel.
arm64 in front asks for that system, if strata.json has it. Signatures are checked as strata lock does.
What was made is kept in --cache, where each layer is made once.

With --image, images that lie on the disk are served as they are, and as they are built anew.

It listens on this machine alone, and speaks plain HTTP, unless told otherwise. It stops on Ctrl-C and SIGTERM;
what runs may come to its end. It may be killed at any time.

A line is logged for each request and each thing made; with --quiet, for what failed alone.`,
		Example: `  strata serve    # and, elsewhere: docker run -it 127.0.0.1:5000/shell/git
  strata serve --project images/strata.json --channel nixos-25.05
  strata serve --image web=bazel-bin/app/image.tar --image api:dev=api.oci
  strata serve --listen 0.0.0.0:5000 --cache /var/cache/strata --cache-size 50GB --rate 50 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.listen, "listen", "127.0.0.1:5000", "the `HOST:PORT` to listen on; port 0: any that is free")
	fl.StringVar(&f.addressFile, "address-file", "", "write the address to `FILE` once it listens")
	fl.StringArrayVar(&f.images, "image", nil, "serve the image at PATH, `NAME[:TAG]=PATH`: an OCI layout, an archive or what Bazel's rules write; repeatable")
	fl.StringVar(&f.project, "project", project.DefaultFile, "the project `FILE` with caches, keys, channels and roots (with --image alone: none)")
	fl.StringVar(&f.channel, "channel", "", "which channel the tag latest is, by `NAME` (not needed if there is one)")
	fl.DurationVar(&f.refresh, "refresh", time.Hour, "the `TIME` after which a channel's list is fetched anew")
	fl.StringVar(&f.cache, "cache", "", "the `DIR` to keep what was made (default: strata/serve in the user's cache folder)")
	fl.Var(&f.cacheSize, "cache-size", "how much is kept there, `BYTES` with kB, MB, GB, KiB, MiB or GiB; what was used longest ago goes first")
	fl.Var(&f.maxImageSize, "max-image-size", "refuse to make images of more `BYTES`, unpacked")
	fl.IntVar(&f.maxLayers, "max-layers", 0, "the most layers `N` of an image (default: as the project file says)")
	fl.StringVar(&f.compression, "compression", layer.Compressions()[0], "the `KIND` of the layers' compression: "+strings.Join(layer.Compressions(), ", "))
	fl.IntVar(&f.builds, "max-builds", 4, "how many images `N` are made at once")
	fl.Float64Var(&f.rate, "rate", 500, "how many requests a second `N` one address may make; 0: any")
	fl.IntVar(&f.maxConnections, "max-connections", 1000, "how many connections `N` may be open; 0: any")
	fl.DurationVar(&f.grace, "grace", 10*time.Second, "the `TIME` that requests have to end when it is stopped")
	fl.BoolVar(&f.json, "json", false, "log as JSON, an object a line")
	f.network.register(fl)
	return c
}

func (f *serveFlags) run(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return &usageError{err}
	}
	log := &serveLog{w: cmd.ErrOrStderr(), json: f.json, quiet: newConsole(cmd).quiet}
	var sources []serve.Source
	if len(f.images) > 0 {
		images := new(serve.Images)
		defer images.Close()
		for _, one := range f.images {
			name, path, ok := strings.Cut(one, "=")
			if !ok || path == "" {
				return usagef("--image: want NAME[:TAG]=PATH, found %q", one)
			}
			if err := images.Add(name, path); err != nil {
				return fmt.Errorf("--image %s: %w", name, err)
			}
		}
		sources = append(sources, images)
	}
	if len(f.images) == 0 || cmd.Flags().Changed("project") {
		packages, err := f.packages(log)
		if err != nil {
			return err
		}
		defer packages.Close()
		sources = append(sources, packages)
	}
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	address := l.Addr().String()
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		warn(cmd.ErrOrStderr(), "%s can be reached from other machines, by plain HTTP and without a password", address)
	}
	if f.addressFile != "" {
		if _, err := atomicfile.WriteIfChanged(f.addressFile, []byte(address+"\n")); err != nil {
			l.Close()
			return err
		}
	}
	log.say("listening on %s", address)
	if err := serve.Run(cmd.Context(), l, serve.Options{
		Source: serve.Join(sources...), Rate: f.rate, MaxConnections: f.maxConnections, Grace: f.grace, Log: log.request,
	}); err != nil {
		return err
	}
	log.say("stopped")
	return nil
}

func (f *serveFlags) check() error {
	known := false
	for _, c := range layer.Compressions() {
		known = known || c == f.compression
	}
	switch {
	case f.listen == "": // To Go it is any port of all addresses.
		return errors.New("--listen: want HOST:PORT, found nothing")
	case !known:
		return fmt.Errorf("--compression: want one of %s, found %q", strings.Join(layer.Compressions(), ", "), f.compression)
	case f.refresh <= 0 || f.grace < 0:
		return errors.New("--refresh, --grace: want a time such as 1h or 30s")
	case f.builds < 1:
		return errors.New("--max-builds: want at least 1")
	case f.maxConnections < 0 || !(f.rate >= 0): // NaN isn't
		return errors.New("--max-connections, --rate: want 0 or more")
	case f.cacheSize < 1 || f.maxImageSize < 1:
		return errors.New("--cache-size, --max-image-size: want at least 1")
	}
	return nil
}

// packages opens the registry of packages by name.
func (f *serveFlags) packages(log *serveLog) (*ondemand.Registry, error) {
	p, err := project.Read(f.project)
	if errors.Is(err, fs.ErrNotExist) {
		err = &hinted{err, "write a project file with caches, public_keys and channels, or name images by --image"}
	}
	if err != nil {
		return nil, err
	}
	dir := lock.Folder(f.project)
	client, err := f.network.client(dir)
	if err != nil {
		return nil, err
	}
	cache := f.cache
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, &hinted{err, "say by --cache where to keep what was made"}
		}
		cache = filepath.Join(user, "strata", "serve")
	}
	return ondemand.New(ondemand.Options{
		Project: p, Dir: dir, Client: client, CacheDir: cache, CacheSize: int64(f.cacheSize), MaxImageSize: int64(f.maxImageSize),
		Compression: f.compression, MaxLayers: f.maxLayers, Channel: f.channel, Refresh: f.refresh, Builds: f.builds, Log: log.say,
	})
}

// serveLog writes a line for each thing that happens.
type serveLog struct {
	mu    sync.Mutex
	w     io.Writer
	json  bool
	quiet bool
}

// say tells what the server does by itself.
func (l *serveLog) say(format string, args ...any) {
	if l.quiet {
		return
	}
	text := fmt.Sprintf(format, args...)
	if l.json {
		l.write(struct {
			Time    time.Time `json:"time"`
			Message string    `json:"message"`
		}{time.Now().UTC(), text})
		return
	}
	l.line(time.Now(), text)
}

// request tells of a request. What clients write is quoted: it may hold anything.
func (l *serveLog) request(e serve.Event) {
	failed := ""
	if e.Err != nil {
		failed = e.Err.Error()
	}
	if l.quiet && e.Status < 500 {
		return
	}
	if l.json {
		l.write(struct {
			Time         time.Time `json:"time"`
			Client       string    `json:"client"`
			Method       string    `json:"method"`
			Path         string    `json:"path"`
			Status       int       `json:"status"`
			Bytes        int64     `json:"bytes"`
			Milliseconds int64     `json:"milliseconds"`
			Error        string    `json:"error,omitempty"`
		}{e.Time.UTC(), e.Client, e.Method, e.Path, e.Status, e.Bytes, e.Duration.Milliseconds(), failed})
		return
	}
	text := fmt.Sprintf("%s %s %s %d %s %.3f s", e.Client, plainWord(e.Method), plainWord(e.Path), e.Status, formatBytes(e.Bytes), e.Duration.Seconds())
	if failed != "" {
		text += ": " + strings.ReplaceAll(failed, "\n", "; ")
	}
	l.line(e.Time.Add(e.Duration), text)
}

// plainWord quotes s if it could be taken for something else on a line.
func plainWord(s string) string {
	if q := strconv.QuoteToASCII(s); q != `"`+s+`"` || strings.Contains(s, " ") {
		return q
	}
	return s
}

func (l *serveLog) line(t time.Time, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "%s %s\n", t.UTC().Format(time.RFC3339), text)
}

func (l *serveLog) write(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w.Write(append(b, '\n'))
}

// byteSize is a number of bytes, as a flag.
type byteSize int64

var byteUnits = []struct {
	name string
	n    int64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"tib", 1 << 40},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"tb", 1e12},
	{"b", 1},
}

// String writes it in the largest unit that leaves nothing over.
func (s *byteSize) String() string {
	for _, u := range []struct {
		name string
		n    int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if *s > 0 && int64(*s)%u.n == 0 {
			return strconv.FormatInt(int64(*s)/u.n, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Type implements [pflag.Value].
func (s *byteSize) Type() string { return "bytes" }

// Set implements [pflag.Value].
func (s *byteSize) Set(text string) error {
	digits, unit := strings.ToLower(strings.TrimSpace(text)), int64(1)
	for _, u := range byteUnits {
		if number, ok := strings.CutSuffix(digits, u.name); ok {
			digits, unit = strings.TrimSpace(number), u.n
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return fmt.Errorf("want a number of bytes, such as 500MB or 10GiB")
	}
	*s = byteSize(n * unit)
	return nil
}
