package imagefile

import (
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
)

// Select returns the one image that is meant: of those whose name is name (a
// whole reference, what a layout calls it, a digest, or "" for any) the one for platform
// (nil: any). If there is not exactly one, the error lists what there is.
func (f *File) Select(name string, platform *ocispec.Platform) (*Image, error) {
	var found []*Image
	for _, i := range f.Images {
		if i.isCalled(name, i.Names, i.RefNames) && i.isFor(platform) {
			found = append(found, i)
		}
	}
	for _, x := range f.Indexes {
		whole := x.Descriptor.Digest.String() == name
		for _, i := range x.Images {
			if (whole || i.isCalled(name, x.Names, x.RefNames)) && i.isFor(platform) {
				found = append(found, i)
			}
		}
	}
	// One image may be on its own and in an index.
	found = slices.CompactFunc(found, func(a, b *Image) bool { return a.Descriptor.Digest == b.Descriptor.Digest })
	if len(found) == 1 {
		return found[0], nil
	}
	what := "an image"
	if name != "" {
		what += fmt.Sprintf(" called %q", name)
	}
	if platform != nil {
		what += " for " + PlatformText(*platform)
	}
	how := "no " + strings.TrimPrefix(what, "an ")
	if len(found) > 1 {
		how = fmt.Sprintf("want %s, found %d", what, len(found))
	}
	return nil, hinted{fmt.Errorf("%s: %s", f.Path, how), "there are: " + strings.Join(f.list(), "; ")}
}

func (i *Image) isCalled(name string, names, refNames []string) bool {
	if name == "" || name == i.Descriptor.Digest.String() || slices.Contains(refNames, name) {
		return true
	}
	r, err := image.ParseReference(name)
	return err == nil && slices.Contains(names, r.String())
}

func (i *Image) isFor(p *ocispec.Platform) bool {
	return p == nil || i.Spec.OS == p.OS && i.Spec.Architecture == p.Architecture && (p.Variant == "" || i.Spec.Variant == p.Variant)
}

// PlatformText is a platform as people write it: "linux/arm/v7".
func PlatformText(p ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// ParsePlatform reads what [PlatformText] writes.
func ParsePlatform(s string) (*ocispec.Platform, error) {
	f := strings.Split(s, "/")
	if len(f) < 2 || len(f) > 3 || slices.Contains(f, "") {
		return nil, fmt.Errorf("platform %q: want OS/ARCHITECTURE[/VARIANT], such as linux/arm64", s)
	}
	p := &ocispec.Platform{OS: f[0], Architecture: f[1]}
	if len(f) == 3 {
		p.Variant = f[2]
	}
	return p, nil
}

// list says which images there are, a few of them.
func (f *File) list() []string {
	const most = 12
	var all []string
	add := func(i *Image, names []string) {
		name := i.Descriptor.Digest.String()
		if len(names) > 0 {
			name = strings.Join(names, " ")
		}
		all = append(all, name+" for "+PlatformText(i.Spec.Platform))
	}
	for _, i := range f.Images {
		add(i, i.Names)
	}
	for _, x := range f.Indexes {
		for _, i := range x.Images {
			add(i, x.Names)
		}
	}
	if len(all) > most {
		all = append(all[:most], fmt.Sprintf("and %d more", len(all)-most))
	}
	return all
}
