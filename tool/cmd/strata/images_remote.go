package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rules-strata/rules_strata/tool/fetch"
	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
	"github.com/rules-strata/rules_strata/tool/registry"
)

// isReference says whether an argument names an image in a registry: no file is called so, and it has a tag or a digest, or
// begins with a host, as docker knows one. So a file that isn't there, such as out/web.tar, is told from an image.
func isReference(arg string) bool {
	if _, err := os.Lstat(arg); err == nil || isLabel(arg) || strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") {
		return false
	}
	return saysWhich(arg) || saysHost(arg) && !slices.Contains(fileExtensions, filepath.Ext(arg))
}

// saysHost says whether a reference begins with a registry's host, by docker's rule.
func saysHost(reference string) bool {
	host, _, whole := strings.Cut(reference, "/")
	return whole && (strings.ContainsAny(host, ".:") || host == "localhost")
}

// saysWhich says whether a reference has a tag or a digest; else the tag latest is meant, as everywhere.
func saysWhich(reference string) bool {
	return strings.Contains(reference, "@sha256:") || strings.Contains(reference[strings.LastIndexByte(reference, '/')+1:], ":")
}

// fileExtensions are those of images in files: who writes one without a tag means a file.
var fileExtensions = []string{".tar", ".gz", ".tgz", ".zst", ".xz", ".json", ".oci", ".layout"}

// remoteImage fetches the image that a reference names into a temporary layout, and opens it. Layers are fetched if they are wanted,
// of the one image that the flags choose.
func (f *imageFlags) remoteImage(cmd *cobra.Command, reference string, layers bool) (*openImage, error) {
	return f.remoteImageBy(cmd, reference, layers, f.choose)
}

// remoteImageBy is remoteImage, of the image that choose chooses.
func (f *imageFlags) remoteImageBy(cmd *cobra.Command, reference string, layers bool, choose func(*imagefile.File) (*imagefile.Image, error)) (_ *openImage, err error) {
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
	o.pinned = o.Path
	if o.Image, err = choose(o.File); err != nil {
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
	credentials, err := fetch.NewCredentials(f.network.helpers...)
	if err != nil {
		return nil, nil, err
	}
	c := newConsole(cmd)
	c.quiet = c.quiet || !c.terminal // It is but the way to something else.
	t := newTransfer(c)
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
			return "", stopped(cmd.Context(), adviseReference(reference, err))
		}
		return familiarName(ref.Context()) + "@" + pulled.Root.Digest.String(), nil
	}, client.CloseIdleConnections, nil
}

// adviseReference adds to an error about an image without a tag what was meant by it.
func adviseReference(reference string, err error) error {
	if saysWhich(reference) {
		return err
	}
	return &hinted{err, "there is no file " + reference + "; an image in a registry without a tag is the one with the tag latest"}
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
