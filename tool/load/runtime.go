package load

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rules-strata/rules_strata/tool/imagefile"
)

// Runtime is a container runtime that images can be loaded into.
type Runtime interface {
	// Name is "docker", "podman" or "containerd".
	Name() string
	// String is name, version and where it was found, for people.
	String() string
	// Load hands an image over and gives it the names, which are whole references.
	Load(ctx context.Context, img *imagefile.Image, names []string, o Options) (*Result, error)
	// RunCommand is the command line that starts a container of the image by its name or ID,
	// with options of the runtime's own run command, and arguments for the program.
	RunCommand(image string, options, args []string) ([]string, error)
}

// Options are how an image is loaded.
type Options struct {
	// Progress, if set, is told from time to time how many bytes were sent.
	Progress func(sent int64)
}

// Result is what was done.
type Result struct {
	// ID is what the runtime calls the image: the config's digest, or the manifest's.
	ID string
	// LayersSent and LayersThere count the image's layers: those in the archive and those that the runtime had.
	LayersSent, LayersThere int
	// BytesSent is the size of the archive as it was sent; -1 if the runtime took the files by itself.
	BytesSent int64
	// BytesThere is the size of the layers that weren't sent.
	BytesThere int64
}

// Place says where runtimes are looked for.
type Place struct {
	// Runtime is "docker", "podman" or "containerd"; "" is the first of these that answers.
	Runtime string
	// Host is docker's, as DOCKER_HOST has it; "" is what the environment or docker's current context says.
	Host string
	// Address is containerd's socket; "" is what CONTAINERD_ADDRESS says, or the usual one.
	Address string
	// Namespace is containerd's; "" is what CONTAINERD_NAMESPACE says, or "default".
	Namespace string
	// Podman is the command with its global options; nil is "podman".
	Podman []string
}

// Names are the runtimes, in the order in which they are looked for.
func Names() []string { return []string{"docker", "podman", "containerd"} }

// Find returns the runtime that p describes. If there is none, the error says
// of each what was tried.
func Find(ctx context.Context, p Place) (Runtime, error) {
	find := map[string]func(context.Context, Place) (Runtime, error){
		"docker": findDocker, "podman": findPodman, "containerd": findContainerd,
	}
	if p.Runtime != "" {
		f, ok := find[p.Runtime]
		if !ok {
			return nil, fmt.Errorf("runtime %q: want one of %s", p.Runtime, strings.Join(Names(), ", "))
		}
		r, err := f(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Runtime, err)
		}
		return r, nil
	}
	var tried []error
	for _, name := range Names() {
		r, err := find[name](ctx, p)
		if err == nil {
			return r, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		tried = append(tried, fmt.Errorf("%s: %w", name, err))
	}
	none := hinted{
		errors.New("no container runtime answers"),
		"start one, or name it by --runtime; strata stream writes the archive for a runtime elsewhere",
	}
	return nil, errors.Join(append([]error{none}, tried...)...)
}

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// Hint is the advice.
func (h hinted) Hint() string { return h.hint }
