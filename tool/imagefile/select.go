package imagefile

import (
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
)

// Images reads every image, those of indexes too.
func (f *File) Images() ([]*Image, error) {
	var all []*Image
	for _, e := range f.images {
		i, err := f.read(e)
		if err != nil {
			return nil, about(f.Path, err)
		}
		all = append(all, i)
	}
	if len(all) == 0 {
		return nil, about(f.Path, f.noImage())
	}
	return all, nil
}

// Select reads the one image that is meant: of those whose name is name (a
// whole reference, what a layout calls it or its index, a digest, or "" for any) the one for platform
// (nil: any). If there is not exactly one, the error lists what there is.
func (f *File) Select(name string, platform *ocispec.Platform) (*Image, error) {
	found, err := f.find(name, platform)
	if err != nil {
		return nil, about(f.Path, err)
	}
	i, err := f.read(found)
	if err != nil {
		return nil, about(f.Path, err)
	}
	return i, nil
}

// SelectFor is Select for who builds for a platform: it chooses between several images, but one that is alone is taken
// whatever it says that it is for.
func (f *File) SelectFor(name string, platform ocispec.Platform) (*Image, error) {
	if len(f.called(name)) == 1 {
		return f.Select(name, nil)
	}
	return f.Select(name, &platform)
}

// called are the images that name may mean.
func (f *File) called(name string) []*entry {
	var found []*entry
	for _, e := range f.images {
		if e.isCalled(name) {
			found = append(found, e)
		}
	}
	return found
}

func (f *File) find(name string, platform *ocispec.Platform) (*entry, error) {
	if len(f.images) == 0 {
		return nil, f.noImage()
	}
	found := f.called(name)
	what := "image"
	if name != "" {
		what += fmt.Sprintf(" called %q", name)
	}
	if platform != nil && len(found) > 0 {
		var err error
		if found, err = f.fitting(found, *platform); err != nil {
			return nil, err
		}
		what += " for " + image.PlatformText(*platform)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("it has no %s; there are: %s", what, list(f.images))
	}
	return nil, fmt.Errorf("want one %s, found %d; choose one by its name or platform: %s", what, len(found), list(f.images))
}

// fitting are those of the entries that are for a platform; where several would do, those with just its variant.
func (f *File) fitting(all []*entry, want ocispec.Platform) (fit []*entry, err error) {
	var same []*entry
	for _, e := range all {
		has := e.descriptor.Platform
		if has == nil { // Only the config says.
			i, err := f.read(e)
			if err != nil {
				return nil, err
			}
			has = &i.Spec.Platform
		}
		if image.PlatformFits(*has, want) {
			fit = append(fit, e)
			if image.SameVariant(*has, want) {
				same = append(same, e)
			}
		}
	}
	if len(same) > 0 {
		return same, nil
	}
	return fit, nil
}

func (f *File) noImage() error {
	if len(f.others) > 0 {
		return fmt.Errorf("it has no image, but media type %s; want %s", strings.Join(f.others, ", "), ocispec.MediaTypeImageManifest)
	}
	return fmt.Errorf("%s names no image", ocispec.ImageIndexFile)
}

// isCalled reports whether name may mean the entry. The empty name means any.
func (e *entry) isCalled(name string) bool {
	if name == "" || name == e.descriptor.Digest.String() || slices.Contains(e.refNames, name) {
		return true
	}
	for _, d := range e.within {
		if name == d.String() {
			return true
		}
	}
	r, err := image.ParseReference(name)
	return err == nil && slices.Contains(e.names, r.String())
}

// list says what there is, a few of it.
func list(entries []*entry) string {
	const most = 12
	var all []string
	for _, e := range entries {
		s := strings.Join(e.names, " ")
		if s == "" {
			s = strings.Join(e.refNames, " ")
		}
		if s == "" {
			s = e.descriptor.Digest.String()
		}
		platform := e.descriptor.Platform
		if e.image != nil {
			platform = &e.image.Spec.Platform
		}
		if platform != nil {
			s += " for " + image.PlatformText(*platform)
		}
		all = append(all, s)
	}
	if len(all) > most {
		all = append(all[:most], fmt.Sprintf("and %d more", len(all)-most))
	}
	return strings.Join(all, "; ")
}
