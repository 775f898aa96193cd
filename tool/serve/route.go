package serve

import (
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/rules-strata/rules_strata/tool/image"
)

// The kinds of what can be asked for.
const (
	routeBase = iota
	routeCatalog
	routeManifest
	routeBlob
	routeTags
	routeReferrers
	routeUpload // and what else only pushing needs
)

// route is what a path asks for.
type route struct {
	kind int
	// repository is well formed, but for the first two kinds, which have none.
	repository string
	// reference is a tag or a digest, well formed, of a manifest, a blob or what refers to one.
	reference string
}

// maxPath bounds a path: a repository has at most 255 characters, and a tag 128.
const maxPath = 512

// parseRoute reads a request's path, decoded. Names may hold the very words that part a path, so it is read from its end.
func parseRoute(path string) (route, *Error) {
	if len(path) > maxPath {
		return route{}, Errorf(CodeNameInvalid, "the path has %d characters, want at most %d", len(path), maxPath)
	}
	rest, ok := strings.CutPrefix(path, "/v2")
	if !ok || rest != "" && rest[0] != '/' {
		return route{}, Errorf(CodeNameUnknown, "this is a registry: all of it is below /v2/")
	}
	rest = strings.TrimPrefix(rest, "/")
	switch rest {
	case "":
		return route{kind: routeBase}, nil
	case "_catalog":
		return route{kind: routeCatalog}, nil
	}
	var r route
	if name, ok := strings.CutSuffix(rest, "/tags/list"); ok {
		r = route{kind: routeTags, repository: name}
		return r, checkedName(name)
	}
	for _, upload := range []string{"/blobs/uploads", "/blobs/uploads/"} {
		if name, ok := strings.CutSuffix(rest, upload); ok {
			return route{kind: routeUpload, repository: name}, checkedName(name)
		}
	}
	at, last := -1, ""
	if slash := strings.LastIndexByte(rest, '/'); slash >= 0 {
		at, last = slash, rest[slash+1:]
	}
	for _, k := range []struct {
		word string
		kind int
	}{{"/manifests", routeManifest}, {"/blobs", routeBlob}, {"/referrers", routeReferrers}, {"/blobs/uploads", routeUpload}} {
		if name, ok := strings.CutSuffix(rest[:max(at, 0)], k.word); ok {
			r = route{k.kind, name, last}
			if err := checkedName(name); err != nil {
				return r, err
			}
			return r, r.checkReference()
		}
	}
	return route{}, Errorf(CodeNameUnknown, "there is no such endpoint; a repository has manifests, blobs, tags/list and referrers")
}

// CheckName wants a repository's name by the spec's grammar, which is docker's.
func CheckName(name string) error {
	if err := checkedName(name); err != nil {
		return err
	}
	return nil
}

func checkedName(name string) *Error {
	if _, err := image.ParseReference("localhost/" + name); err != nil || strings.IndexByte(name, ':') >= 0 {
		why := "want parts of lower-case letters and digits, with . _ __ or - between them, joined by /"
		return Errorf(CodeNameInvalid, "repository name %.80q: %s", name, why)
	}
	return nil
}

// checkTag wants a tag by the spec's grammar.
func checkTag(tag string) *Error {
	if _, err := image.ParseReference("localhost/x:" + tag); err != nil {
		return Errorf(CodeTagInvalid, "tag %.140q: want 1 to 128 letters, digits, _, and after the first also . and -", tag)
	}
	return nil
}

func (r *route) checkReference() *Error {
	switch {
	case r.kind == routeUpload:
		return nil
	case r.kind == routeManifest && !strings.Contains(r.reference, ":"):
		return checkTag(r.reference)
	}
	d := digest.Digest(r.reference)
	if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 {
		return Errorf(CodeDigestInvalid, "digest %.140q: want sha256:<64 hex>", r.reference)
	}
	return nil
}

// readOnly reports whether a method asks and changes nothing.
func readOnly(method string) bool { return method == http.MethodGet || method == http.MethodHead }
