package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
)

// podman is its command, which has no daemon behind it.
type podman struct {
	command []string
	version string
}

func findPodman(ctx context.Context, p Place) (Runtime, error) {
	o := &podman{command: p.Podman}
	if len(o.command) == 0 {
		o.command = []string{"podman"}
	}
	if _, err := exec.LookPath(o.command[0]); err != nil {
		return nil, err
	}
	var err error
	o.version, err = o.run(ctx, nil, "version", "--format", "{{.Client.Version}}")
	return o, err
}

func (*podman) Name() string { return "podman" }

func (p *podman) String() string { return "podman " + p.version }

func (p *podman) RunCommand(image string, options, args []string) ([]string, error) {
	return slices.Concat(p.command, []string{"run"}, options, []string{image}, args), nil
}

func (p *podman) run(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	return runCommand(ctx, stdin, p.command, args...)
}

func (p *podman) Load(ctx context.Context, img *imagefile.Image, names []string, o Options) (*Result, error) {
	id := img.ConfigDescriptor.Digest.Encoded()
	r := &Result{ID: img.ConfigDescriptor.Digest.String()}
	if _, err := p.run(ctx, nil, "image", "exists", id); err == nil {
		r.sizes(img, func(int, *imagefile.Layer) bool { return true })
		return r, p.tag(ctx, id, names)
	}
	if slices.ContainsFunc(img.Layers, func(l *imagefile.Layer) bool { return l.Path == "" }) {
		return r, p.loadArchive(ctx, img, names, o, r)
	}
	if err := p.pullLayout(ctx, img); err != nil {
		return nil, err
	}
	r.BytesSent = -1
	r.sizes(img, func(int, *imagefile.Layer) bool { return false })
	return r, p.tag(ctx, id, names)
}

// pullLayout has podman read the blobs where they are: a layout with links to
// them is all that is written.
func (p *podman) pullLayout(ctx context.Context, img *imagefile.Image) error {
	dir, err := os.MkdirTemp("", "strata-load-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	layout := filepath.Join(dir, "layout")
	if err := image.WriteLayout(ctx, layout, img.Built(), img.Blobs(), nil, image.Symlink); err != nil {
		return err
	}
	if _, err = p.run(ctx, nil, "pull", "--quiet", "oci:"+layout); err != nil {
		return err
	}
	// By now it is called by the folder.
	_, err = p.run(ctx, nil, "untag", img.ConfigDescriptor.Digest.Encoded())
	return err
}

// loadArchive is for images whose blobs are in no files of their own.
func (p *podman) loadArchive(ctx context.Context, img *imagefile.Image, names []string, o Options, r *Result) error {
	in, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		c := &counter{w: w, tell: o.Progress}
		err := ociArchive(ctx, c, img, names, nil)
		r.BytesSent = c.n
		w.CloseWithError(err)
		done <- err
	}()
	_, err := p.run(ctx, in, "load", "--quiet")
	in.CloseWithError(errEnough)
	if e := <-done; e != nil && !errors.Is(e, errEnough) {
		return e
	}
	r.sizes(img, func(int, *imagefile.Layer) bool { return false })
	return err
}

func (p *podman) tag(ctx context.Context, id string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	_, err := p.run(ctx, nil, append([]string{"tag", id}, names...)...)
	return err
}

// runCommand runs a runtime's command and returns what it says. Its error is what it complains of.
func runCommand(ctx context.Context, stdin io.Reader, command []string, args ...string) (string, error) {
	args = slices.Concat(command[1:], args)
	c := exec.CommandContext(ctx, command[0], args...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = waitDelay
	c.Stdin = stdin
	stdout, stderr := &tail{most: maxCommandOutput}, &tail{most: 4096}
	c.Stdout, c.Stderr = stdout, stderr
	err := c.Run()
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil:
		said := strings.TrimSpace(string(stderr.b))
		if said == "" {
			said = err.Error()
		}
		return "", fmt.Errorf("%s: %s", filepath.Base(command[0]), said)
	}
	return strings.TrimSpace(string(stdout.b)), nil
}

// tail keeps the last bytes of what is written.
type tail struct {
	b    []byte
	most int
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - t.most; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}
