package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/imagefile"
)

// docker is a daemon that answers.
type docker struct {
	api     *dockerAPI
	version string // such as "20.10.24+dfsg1"
	// blobs says that the daemon keeps images in containerd, by blobs; else it
	// has them unpacked, by chains of layers.
	blobs bool
}

func findDocker(ctx context.Context, p Place) (Runtime, error) {
	hosts, err := dockerHosts(p)
	if err != nil {
		return nil, err
	}
	var tried []error
	for _, host := range hosts {
		d, err := newDocker(ctx, host)
		if err == nil {
			return d, nil
		}
		tried = append(tried, err)
	}
	return nil, errors.Join(tried...)
}

func newDocker(ctx context.Context, host string) (*docker, error) {
	api, err := newDockerAPI(host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, pingTimeout, fmt.Errorf("%s: no answer in %s", host, pingTimeout))
	defer cancel()
	var info struct {
		ServerVersion string
		DriverStatus  [][2]string
	}
	if err := api.get(ctx, "/info", nil, &info); err != nil {
		return nil, err
	}
	d := &docker{api: api, version: info.ServerVersion}
	d.blobs = slices.Contains(info.DriverStatus, [2]string{"driver-type", "io.containerd.snapshotter.v1"})
	return d, nil
}

func (*docker) Name() string { return "docker" }

func (d *docker) String() string {
	s := "docker " + d.version + " at " + d.api.host
	if d.blobs {
		s += ", with containerd's image store"
	}
	return s
}

func (d *docker) RunCommand(image string, options, args []string) ([]string, error) {
	return slices.Concat([]string{"docker", "--host", d.api.host, "run"}, options, []string{image}, args), nil
}

// dockerImage is what the daemon says of an image.
type dockerImage struct {
	ID       string `json:"Id"`
	RepoTags []string
	RootFS   struct{ Layers []digest.Digest }
	// Manifests, of version 28 on, say whether all blobs are there.
	Manifests []struct {
		Descriptor ocispec.Descriptor
		Available  bool
	}
}

// inspect returns nil for an image that isn't there.
func (d *docker) inspect(ctx context.Context, name string, query url.Values) (*dockerImage, error) {
	i := new(dockerImage)
	err := d.api.get(ctx, "/images/"+name+"/json", query, i)
	if said := new(dockerError); errors.As(err, &said) && said.status == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return i, nil
}

// maxInspected bounds how many of the daemon's images are looked at; those that
// have one of the names come first, and then the newest.
const maxInspected = 200

// images returns the daemon's images.
func (d *docker) images(ctx context.Context, names []string) ([]*dockerImage, error) {
	var list []struct {
		ID       string `json:"Id"`
		RepoTags []string
		Created  int64
	}
	if err := d.api.get(ctx, "/images/json", nil, &list); err != nil {
		return nil, err
	}
	var ids, others []string
	for _, i := range list {
		if slices.ContainsFunc(i.RepoTags, func(t string) bool {
			return slices.ContainsFunc(names, func(n string) bool { return sameRepository(t, n) })
		}) {
			ids = append(ids, i.ID)
		} else {
			others = append(others, i.ID)
		}
	}
	ids = append(ids, others...)
	var all []*dockerImage
	for _, id := range ids[:min(len(ids), maxInspected)] {
		i, err := d.inspect(ctx, id, nil)
		if err != nil {
			return nil, err
		}
		if i != nil { // It may have been removed meanwhile.
			all = append(all, i)
		}
	}
	return all, nil
}

func sameRepository(a, b string) bool {
	x, err := image.ParseReference(a)
	if err != nil {
		return false
	}
	y, err := image.ParseReference(b)
	return err == nil && x.Domain == y.Domain && x.Path == y.Path
}

func (d *docker) Load(ctx context.Context, img *imagefile.Image, names []string, o Options) (*Result, error) {
	if d.blobs {
		return d.loadBlobs(ctx, img, names, o)
	}
	return d.loadChains(ctx, img, names, o)
}

// loadChains loads into graph drivers, whose ID of an image is its config's digest.
func (d *docker) loadChains(ctx context.Context, img *imagefile.Image, names []string, o Options) (*Result, error) {
	r := &Result{ID: img.ConfigDescriptor.Digest.String()}
	if there, err := d.inspect(ctx, r.ID, nil); err != nil {
		return nil, err
	} else if there != nil {
		r.sizes(img, func(int, *imagefile.Layer) bool { return true })
		return r, d.tag(ctx, there, names)
	}
	all, err := d.images(ctx, names)
	if err != nil {
		return nil, err
	}
	from := 0
	for _, i := range all {
		n := 0
		for n < min(len(i.RootFS.Layers), len(img.Layers)) && i.RootFS.Layers[n] == img.Layers[n].DiffID {
			n++
		}
		from = max(from, n)
	}
	decompress := d.major() < 23 && hasZstd(img)
	send := func(from int) error {
		err := d.api.load(ctx, func(w io.Writer) error {
			c := &counter{w: w, tell: o.Progress}
			err := dockerArchive(ctx, c, img, names, from, decompress)
			r.BytesSent = c.n
			return err
		})
		r.sizes(img, func(k int, _ *imagefile.Layer) bool { return k < from })
		return err
	}
	err = send(from)
	if said := new(dockerError); from > 0 && errors.As(err, &said) {
		err = send(0) // A layer was removed meanwhile.
	}
	if err != nil {
		return nil, err
	}
	there, err := d.inspect(ctx, r.ID, nil)
	if err == nil && there == nil {
		err = fmt.Errorf("%s: it took the image, but has none of the ID %s", d.api.host, r.ID)
	}
	return r, err
}

// major is the daemon's version up to the first dot; 0 if it makes no sense.
func (d *docker) major() int {
	n, _ := strconv.Atoi(strings.SplitN(d.version, ".", 2)[0])
	return n
}

func hasZstd(img *imagefile.Image) bool {
	return slices.ContainsFunc(img.Layers, func(l *imagefile.Layer) bool { return strings.HasSuffix(l.Descriptor.MediaType, "zstd") })
}

// loadBlobs loads into containerd's image store, whose ID of an image is its
// manifest's digest. The daemon doesn't tell which blobs it has, only the diff IDs of
// its images: a layer of an image that is there has the same blob, if it was made
// and compressed as this one was. Whether that was so the daemon tells afterwards.
func (d *docker) loadBlobs(ctx context.Context, img *imagefile.Image, names []string, o Options) (*Result, error) {
	r := &Result{ID: img.Descriptor.Digest.String()}
	withManifests := url.Values{"manifests": {"1"}}
	complete := func() (*dockerImage, error) {
		there, err := d.inspect(ctx, r.ID, withManifests)
		if err != nil || there == nil {
			return nil, err
		}
		for _, m := range there.Manifests {
			if m.Descriptor.Digest == img.Descriptor.Digest && m.Available {
				return there, nil
			}
		}
		return nil, nil
	}
	there, err := complete()
	if err != nil {
		return nil, err
	}
	if there != nil {
		r.sizes(img, func(int, *imagefile.Layer) bool { return true })
		return r, d.tag(ctx, there, names)
	}
	skip := map[digest.Digest]bool{}
	all, err := d.images(ctx, names)
	if err != nil {
		return nil, err
	}
	diffs := map[digest.Digest]bool{}
	for _, i := range all {
		for _, l := range i.RootFS.Layers {
			diffs[l] = true
		}
	}
	for _, l := range img.Layers {
		if diffs[l.DiffID] {
			skip[l.Descriptor.Digest] = true
		}
	}
	send := func() error {
		err := d.api.load(ctx, func(w io.Writer) error {
			c := &counter{w: w, tell: o.Progress}
			err := ociArchive(ctx, c, img, names, skip)
			r.BytesSent = c.n
			return err
		})
		r.sizes(img, func(_ int, l *imagefile.Layer) bool { return skip[l.Descriptor.Digest] })
		return err
	}
	err = send()
	if len(skip) == 0 {
		return r, err
	}
	if err == nil {
		there, err = complete()
	}
	if said := new(dockerError); err == nil && there == nil || errors.As(err, &said) {
		skip = nil
		err = send()
	}
	return r, err
}

// tag gives an image that is there the names that it hasn't.
func (d *docker) tag(ctx context.Context, there *dockerImage, names []string) error {
	for _, n := range names {
		ref, err := image.ParseReference(n)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(there.RepoTags, func(t string) bool {
			has, err := image.ParseReference(t)
			return err == nil && has == ref
		}) {
			continue
		}
		query := url.Values{"repo": {ref.Domain + "/" + ref.Path}, "tag": {ref.Tag}}
		answer, err := d.api.do(ctx, http.MethodPost, "/images/"+there.ID+"/tag", query, nil)
		if err != nil {
			return err
		}
		answer.Body.Close()
	}
	return nil
}
