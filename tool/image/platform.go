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
