package ondemand

import (
	"strings"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/serve"
)

// maxPackages bounds the packages in one name.
const maxPackages = 32

// metaShell in front of a name stands for a shell and what people expect in one.
const metaShell = "shell"

// item is something that an image holds.
type item struct {
	// names are what it may be called; the first that there is, is meant.
	names []string
	// optional: if there is none, the image does without.
	optional bool
	// shell: it is one of the packages that metaShell stands for.
	shell bool
	// certificates: it has those of authorities.
	certificates bool
}

// always are in every image, as with Nixery: programs that speak TLS want the certificates, and many a one wants the names of
// protocols and services in /etc.
var always = []item{
	{names: []string{"iana-etc"}, optional: true},
	{names: []string{"nss-cacert"}, optional: true, certificates: true},
}

// shellItems are what metaShell stands for, as Nixery has it: an interactive bash, if there is one.
var shellItems = []item{
	{names: []string{"bash-interactive", "bash"}, shell: true},
	{names: []string{"coreutils"}, shell: true},
	{names: []string{"moreutils"}, shell: true, optional: true},
	{names: []string{"nano"}, shell: true, optional: true},
}

// request is what a repository's name asks for.
type request struct {
	system string
	items  []item // sorted by name: their order in the repository's name means nothing
}

// parse reads a repository's name: packages joined by slashes, in front of them metaShell and an architecture, such as arm64.
func (s *Registry) parse(repository string) (*request, error) {
	parts := strings.Split(repository, "/")
	r := &request{system: s.o.Project.Systems[0]}
	meta := func() bool {
		if s.root(parts[0], r.system) != nil { // People may call a root so.
			return false
		}
		if parts[0] == metaShell {
			if !r.has(shellItems[0]) {
				r.items = append(r.items, shellItems...)
			}
			return true
		}
		for _, system := range s.o.Project.Systems {
			if p, err := image.PlatformOf(system); err == nil && p.Architecture+p.Variant == parts[0] {
				r.system = system
				return true
			}
		}
		return false
	}
	for len(parts) > 0 && meta() {
		parts = parts[1:]
	}
	for _, p := range parts {
		if architectures[p] && s.root(p, r.system) == nil {
			return nil, serve.Errorf(serve.CodeManifestUnknown, "%s is an architecture: it stands in front of the packages, and this server has images for %s",
				p, strings.Join(s.o.Project.Systems, ", "))
		}
		if one := (item{names: []string{p}}); !r.has(one) {
			r.items = append(r.items, one)
		}
	}
	if len(r.items) == 0 {
		return nil, serve.Errorf(serve.CodeNameUnknown, "%s names no package; write %s/git, for example", repository, repository)
	}
	if len(parts) > maxPackages {
		return nil, serve.Errorf(serve.CodeNameUnknown, "%d packages in one image, want at most %d", len(parts), maxPackages)
	}
	r.items = append(r.items, always...)
	return r, nil
}

func (r *request) has(i item) bool {
	for _, o := range r.items {
		if o.names[0] == i.names[0] {
			return true
		}
	}
	return false
}

// architectures are the names that images have for them: no package is called so.
var architectures = func() map[string]bool {
	all := map[string]bool{}
	for _, system := range image.Systems() {
		if p, err := image.PlatformOf(system); err == nil {
			all[p.Architecture+p.Variant] = true
		}
	}
	return all
}()
