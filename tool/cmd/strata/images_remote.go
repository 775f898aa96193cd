package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/registry"
)

// isReference says whether an argument names an image in a registry: it has a tag or a digest, and no file is called so.
func isReference(arg string) bool {
	if _, err := os.Lstat(arg); err == nil || strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") {
		return false
	}
	return strings.Contains(arg, "@sha256:") || strings.Contains(arg[strings.LastIndexByte(arg, '/')+1:], ":")
}

// remoteImage fetches the image that a reference names into a temporary layout, and opens it. Layers are fetched if they are wanted,
// of the one image that the flags choose.
func (f *imageFlags) remoteImage(cmd *cobra.Command, reference string, layers bool) (_ *openImage, err error) {
	dir, err := os.MkdirTemp("", "strata-image-*")
	if err != nil {
		return nil, err
	}
	o := &openImage{temporary: dir, remote: true}
	defer func() {
		if err != nil {
			o.Close()
		}
	}()
	pull, done, err := f.puller(cmd)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := o.fetch(pull, reference, filepath.Join(dir, "documents"), false); err != nil {
		return nil, err
	}
	if o.Image, err = f.choose(o.File); err != nil {
		return nil, err
	}
	if layers {
		repository, _, _ := strings.Cut(o.Path, "@")
		o.File.Close()
		if err := o.fetch(pull, repository+"@"+o.Image.Descriptor.Digest.String(), filepath.Join(dir, "image"), true); err != nil {
			return nil, err
		}
		if o.Image, err = o.Select("", nil); err != nil {
			return nil, err
		}
	}
	if name, err := image.ParseReference(reference); err == nil {
		o.Image.Names = []string{name.String()}
	}
	return o, nil
}

// remoteImages fetches all that a reference names.
func (f *imageFlags) remoteImages(cmd *cobra.Command, reference string) (_ *openImage, dir string, err error) {
	if dir, err = os.MkdirTemp("", "strata-image-*"); err != nil {
		return nil, "", err
	}
	o := &openImage{temporary: dir, remote: true}
	pull, done, err := f.puller(cmd)
	if err == nil {
		defer done()
		err = o.fetch(pull, reference, filepath.Join(dir, "image"), true)
	}
	if err != nil {
		o.Close()
		return nil, "", err
	}
	return o, filepath.Join(dir, "image"), nil
}

// puller returns what fetches an image into a layout and returns the reference with the digest.
func (f *imageFlags) puller(cmd *cobra.Command) (pull func(reference, dir string, layers bool) (string, error), done func(), err error) {
	credentials, err := fetch.NewCredentials()
	if err != nil {
		return nil, nil, err
	}
	t := newTransfer(cmd.ErrOrStderr(), false)
	t.quiet = !t.terminal
	client, err := (&registryFlags{trust: f.trust}).client(credentials, t, 0)
	if err != nil {
		return nil, nil, err
	}
	return func(reference, dir string, layers bool) (string, error) {
		ref, err := client.Reference(reference)
		if err != nil {
			return "", &usageError{err}
		}
		pulled, err := client.Pull(cmd.Context(), registry.Pull{Reference: ref, Shallow: !layers, Dir: dir})
		t.end("")
		if err != nil {
			return "", stopped(cmd.Context(), err)
		}
		return familiarName(ref.Context()) + "@" + pulled.Root.Digest.String(), nil
	}, client.CloseIdleConnections, nil
}

// fetch fetches an image into a folder and opens it there.
func (o *openImage) fetch(pull func(string, string, bool) (string, error), reference, dir string, layers bool) error {
	whole, err := pull(reference, dir, layers)
	if err != nil {
		return err
	}
	file, err := imagefile.Open(dir)
	if err != nil {
		return err
	}
	o.File = file
	o.File.Path = whole // It is what messages are about.
	return nil
}
