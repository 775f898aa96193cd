package image

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// platforms maps a system, as Nix and Guix name it, to the platform that
// image-spec wants, whose names are Go's GOOS and GOARCH (config.md,
// architecture and os; image-index.md, Platform Variants). Guix says armhf
// where Nix says armv7l. arm64 has no variant here: v8 is what every client
// takes for none, and containerd removes it.
var platforms = map[string]ocispec.Platform{
	"aarch64-linux":     {OS: "linux", Architecture: "arm64"},
	"armhf-linux":       {OS: "linux", Architecture: "arm", Variant: "v7"},
	"armv6l-linux":      {OS: "linux", Architecture: "arm", Variant: "v6"},
	"armv7l-linux":      {OS: "linux", Architecture: "arm", Variant: "v7"},
	"i686-linux":        {OS: "linux", Architecture: "386"},
	"loongarch64-linux": {OS: "linux", Architecture: "loong64"},
	"mips64el-linux":    {OS: "linux", Architecture: "mips64le"},
	"powerpc64le-linux": {OS: "linux", Architecture: "ppc64le"},
	"riscv64-linux":     {OS: "linux", Architecture: "riscv64"},
	"s390x-linux":       {OS: "linux", Architecture: "s390x"},
	"x86_64-linux":      {OS: "linux", Architecture: "amd64"},
}

// PlatformOf returns the platform of a system such as "x86_64-linux". A system
// that is not known is an error that names those that are.
func PlatformOf(system string) (ocispec.Platform, error) {
	p, ok := platforms[system]
	if !ok {
		return p, fmt.Errorf("system %q: no container platform is known for it; want one of %s", system, strings.Join(Systems(), ", "))
	}
	return p, nil
}

// Systems returns the systems that [PlatformOf] knows, sorted.
func Systems() []string { return slices.Sorted(maps.Keys(platforms)) }

// SameVariant reports whether two platforms of one architecture have the same variant of it.
func SameVariant(a, b ocispec.Platform) bool { return usualVariant(a) == usualVariant(b) }

// usualVariant is the variant, or what clients take for none (containerd, platforms/database.go).
func usualVariant(p ocispec.Platform) string {
	switch {
	case p.Variant != "":
		return p.Variant
	case p.Architecture == "arm64":
		return "v8"
	case p.Architecture == "arm":
		return "v7"
	case p.Architecture == "amd64":
		return "v1"
	}
	return ""
}

// PlatformText is a platform as people write it: linux/arm/v7.
func PlatformText(p ocispec.Platform) string {
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// ParsePlatform reads what [PlatformText] writes: OS/ARCHITECTURE[/VARIANT].
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

// PlatformFits reports whether what is for the one platform is for the other, that is wanted. A variant that isn't wanted may be any.
func PlatformFits(has, want ocispec.Platform) bool {
	return has.OS == want.OS && has.Architecture == want.Architecture && (want.Variant == "" || SameVariant(has, want))
}
