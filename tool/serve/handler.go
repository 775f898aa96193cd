package serve

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxPage is how many names one answer lists at most, and how many where nobody says.
const maxPage = 1000

// NewHandler returns the registry of what source has.
func NewHandler(source Source) http.Handler { return &handler{source} }

type handler struct{ source Source }

// ServeHTTP implements [http.Handler]. What a client isn't told of an error, an [Event] has.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	if err := h.serve(w, r.WithContext(WithClient(r.Context(), clientOf(r)))); err != nil {
		e := asError(err)
		if told, ok := w.(interface{ failed(error) }); ok {
			told.failed(err)
		}
		writeError(w, r, e)
	}
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) error {
	route, err := parseRoute(r.URL.Path)
	switch {
	case err == nil && !readOnly(r.Method), err == nil && route.kind == routeUpload:
		return Errorf(CodeUnsupported, "%s: this registry is for pulling; what it serves is made out of store paths, or lies on the disk", r.Method)
	case err != nil:
		return err
	}
	switch route.kind {
	case routeBase:
		return writeJSON(w, r, "application/json", struct{}{})
	case routeCatalog:
		return h.catalog(w, r)
	case routeTags:
		return h.tags(w, r, route)
	case routeManifest:
		return h.manifest(w, r, route)
	case routeReferrers:
		return h.referrers(w, r)
	}
	return h.blob(w, r, route)
}

func (h *handler) manifest(w http.ResponseWriter, r *http.Request, route route) error {
	m, err := h.source.Manifest(r.Context(), route.repository, route.reference)
	if err != nil {
		return err
	}
	if !accepts(r.Header.Values("Accept"), m.MediaType) {
		return Errorf(CodeManifestUnknown, "the manifest is of the type %s, which the client doesn't accept", m.MediaType)
	}
	header := w.Header()
	header.Set("Content-Type", m.MediaType)
	header.Set("Docker-Content-Digest", m.Digest.String())
	header.Set("ETag", `"`+m.Digest.String()+`"`)
	if route.reference == m.Digest.String() {
		header.Set("Cache-Control", "max-age=31536000, immutable")
	} else {
		header.Set("Cache-Control", "no-cache") // Tags move.
	}
	if matches(r.Header.Get("If-None-Match"), m.Digest) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return write(w, r, m.Bytes)
}

// accepts reports whether an Accept header takes a media type. Without one, all are taken; weights don't matter, since there
// is nothing to choose from.
func accepts(values []string, mediaType string) bool {
	given := false
	for _, v := range values {
		for one := range strings.SplitSeq(v, ",") {
			name, _, _ := strings.Cut(one, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			given = given || name != ""
			if name == mediaType || name == "*/*" || name == "application/*" {
				return true
			}
		}
	}
	return !given
}

// matches reports whether an If-None-Match names the digest (RFC 9110, 13.1.2).
func matches(header string, d digest.Digest) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == "*" || strings.Trim(one, `"`) == d.String() {
			return true
		}
	}
	return false
}

// blob lets net/http do what there is to ranges and conditions.
func (h *handler) blob(w http.ResponseWriter, r *http.Request, route route) error {
	d := digest.Digest(route.reference)
	b, err := h.source.Blob(r.Context(), route.repository, d)
	if err != nil {
		return err
	}
	defer b.Close()
	header := w.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Docker-Content-Digest", d.String())
	header.Set("ETag", `"`+d.String()+`"`)
	header.Set("Cache-Control", "max-age=31536000, immutable")
	// Many small ranges of a large blob are an old way to make a server sweat, and no client of registries asks so.
	if strings.Count(r.Header.Get("Range"), ",") > 8 {
		r.Header.Del("Range")
	}
	http.ServeContent(w, r, "", time.Time{}, b)
	return nil
}

// referrers says that nothing refers to anything: signatures and the like would have to be pushed.
func (h *handler) referrers(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Query().Get("artifactType") != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	return writeJSON(w, r, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	})
}

func (h *handler) catalog(w http.ResponseWriter, r *http.Request) error {
	all, err := h.source.Repositories(r.Context())
	if err != nil {
		return err
	}
	names, err := page(w, r, all)
	if err != nil {
		return err
	}
	return writeJSON(w, r, "application/json", struct {
		Repositories []string `json:"repositories"`
	}{names})
}

func (h *handler) tags(w http.ResponseWriter, r *http.Request, route route) error {
	all, err := h.source.Tags(r.Context(), route.repository)
	if err != nil {
		return err
	}
	tags, err := page(w, r, all)
	if err != nil {
		return err
	}
	return writeJSON(w, r, "application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{route.repository, tags})
}

// page returns the part of all that n and last ask for, and says in a header where the next is (RFC 8288).
func page(w http.ResponseWriter, r *http.Request, all []string) ([]string, error) {
	q := r.URL.Query()
	n := maxPage
	if s := q.Get("n"); s != "" {
		v, err := strconv.Atoi(s)
		if err != nil || v < 0 {
			return nil, Errorf(CodePaginationInvalid, "n %.80q: want a number", s)
		}
		n = min(n, v)
	}
	all = slices.Clone(all)
	slices.Sort(all)
	at, there := slices.BinarySearch(all, q.Get("last"))
	if there {
		at++
	}
	rest := all[at:]
	if len(rest) <= n {
		return append([]string{}, rest...), nil
	}
	if n > 0 {
		next := url.URL{Path: r.URL.Path, RawQuery: url.Values{"n": {strconv.Itoa(n)}, "last": {rest[n-1]}}.Encode()}
		w.Header().Set("Link", "<"+next.String()+`>; rel="next"`)
	}
	return append([]string{}, rest[:n]...), nil
}

func writeJSON(w http.ResponseWriter, r *http.Request, mediaType string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", mediaType)
	return write(w, r, b)
}

// write answers by b. That the client has gone is nobody's fault.
func write(w http.ResponseWriter, r *http.Request, b []byte) error {
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		w.Write(b)
	}
	return nil
}
