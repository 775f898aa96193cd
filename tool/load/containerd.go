package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
)

const (
	containerdAddress   = "/run/containerd/containerd.sock"
	containerdNamespace = "default"

	// waitDelay is how long a command may take to end once it was told to.
	waitDelay = 10 * time.Second
	// maxCommandOutput bounds what is kept of a command's output: the digests of 200,000 blobs.
	maxCommandOutput = 16 << 20
)

// containerd is a daemon that answers, reached through ctr.
type containerd struct {
	command   []string // ctr with its global options
	address   string
	namespace string
	version   string
}

func findContainerd(ctx context.Context, p Place) (Runtime, error) {
	or := func(values ...string) string {
		for _, v := range values {
			if v != "" {
				return v
			}
		}
		return ""
	}
	c := &containerd{
		address:   strings.TrimPrefix(or(p.Address, os.Getenv("CONTAINERD_ADDRESS"), containerdAddress), "unix://"),
		namespace: or(p.Namespace, os.Getenv("CONTAINERD_NAMESPACE"), containerdNamespace),
	}
	// Before ctr is asked, which waits long for a socket that isn't there.
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.address)
	if err != nil {
		return nil, err
	}
	conn.Close()
	if _, err := exec.LookPath("ctr"); err != nil {
		return nil, hinted{err, "containerd answers at " + c.address + "; its command ctr has to be on the PATH"}
	}
	c.command = []string{"ctr", "--address", c.address, "--namespace", c.namespace}
	out, err := runCommand(ctx, nil, c.command, "--connect-timeout", "5s", "version")
	if err != nil {
		return nil, err
	}
	if _, server, ok := strings.Cut(out, "Server:"); ok {
		for line := range strings.Lines(server) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Version:"); ok {
				c.version = strings.TrimSpace(v)
				break
			}
		}
	}
	return c, nil
}

func (*containerd) Name() string { return "containerd" }

func (c *containerd) String() string {
	return "containerd " + c.version + " at " + c.address + ", namespace " + c.namespace
}

func (c *containerd) RunCommand(name string, options, args []string) ([]string, error) {
	ref, err := image.ParseReference(name)
	if err != nil {
		return nil, err
	}
	id := ref.Path[strings.LastIndexByte(ref.Path, '/')+1:] + "-" + strconv.Itoa(os.Getpid())
	return slices.Concat(c.command, []string{"run"}, options, []string{name, id}, args), nil
}

func (c *containerd) Load(ctx context.Context, img *imagefile.Image, names []string, o Options) (*Result, error) {
	if len(names) == 0 {
		return nil, hinted{errors.New("containerd finds images by name only"), "give it a name by --tag"}
	}
	list, err := runCommand(ctx, nil, c.command, "content", "list", "--quiet")
	if err != nil {
		return nil, err
	}
	there := map[digest.Digest]bool{}
	for _, d := range strings.Fields(list) {
		there[digest.Digest(d)] = true
	}
	r := &Result{ID: img.Descriptor.Digest.String()}
	skipped := slices.ContainsFunc(img.Layers, func(l *imagefile.Layer) bool { return there[l.Descriptor.Digest] })
	err = c.send(ctx, img, names, there, o, r)
	if err != nil && skipped && ctx.Err() == nil {
		// A blob that no image needed any more was collected meanwhile.
		err = c.send(ctx, img, names, nil, o, r)
	}
	return r, err
}

func (c *containerd) send(ctx context.Context, img *imagefile.Image, names []string, there map[digest.Digest]bool, o Options, r *Result) error {
	in, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		n := &counter{w: w, tell: o.Progress}
		err := ociArchive(ctx, n, img, names, there)
		r.BytesSent = n.n
		w.CloseWithError(err)
		done <- err
	}()
	_, err := runCommand(ctx, in, c.command, "images", "import", "--platform", image.PlatformText(img.Spec.Platform), "-")
	in.CloseWithError(errEnough)
	if e := <-done; e != nil && !errors.Is(e, errEnough) {
		return e
	}
	r.sizes(img, func(_ int, l *imagefile.Layer) bool { return there[l.Descriptor.Digest] })
	if err != nil {
		return fmt.Errorf("%s: %w", c.address, err)
	}
	return nil
}
