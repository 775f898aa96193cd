package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fake is a registry that is as strict as the specification lets it be, and takes uploads up again, which not every
// real one does. A plan in front of it misbehaves. (Real registries judge in e2e/clients.)
type fake struct {
	*httptest.Server
	t testing.TB

	// plan sees each request first, and reports whether it has answered.
	plan func(w http.ResponseWriter, r *http.Request) bool
	// minChunk is the least size of a piece that isn't the last; maxBody the most that one request may bring.
	minChunk, maxBody int64
	// forgets loses a session whose request was cut, as distribution does.
	forgets bool

	// over ends what stalls.
	over chan struct{}

	mu        sync.Mutex
	blobs     map[string][]byte // by repository + "@" + digest
	manifests map[string][]byte // likewise, and by repository + ":" + tag
	types     map[string]string
	sessions  map[string]*session
	begun     int
	log       []string
}

func newFake(t testing.TB) *fake {
	f := &fake{t: t, blobs: map[string][]byte{}, manifests: map[string][]byte{}, types: map[string]string{}, sessions: map[string]*session{}, over: make(chan struct{})}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	t.Cleanup(func() { close(f.over) })
	return f
}

// behave ends the plan, though requests may be under way.
func (f *fake) behave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan = nil
}

// session is an upload under way. One request at a time works on it: of a connection that is cut the rest may be under way when the
// next one comes.
type session struct {
	mu sync.Mutex
	bytes.Buffer
}

func (f *fake) host() string { return strings.TrimPrefix(f.URL, "http://") }

// requests are those since the last call, without pings.
func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.log
	f.log = nil
	return out
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"errors": []any{map[string]any{"code": code, "message": message}}})
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v2/" { // The ping's number depends on the machine's speed.
		f.mu.Lock()
		f.log = append(f.log, r.Method+" "+r.URL.Path)
		f.mu.Unlock()
	}
	f.mu.Lock()
	plan := f.plan
	f.mu.Unlock()
	if plan != nil && plan(w, r) {
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	if path == "" {
		return
	}
	for _, part := range []struct {
		sep    string
		handle func(w http.ResponseWriter, r *http.Request, repo, rest string)
	}{{"/blobs/uploads/", f.upload}, {"/blobs/", f.blob}, {"/manifests/", f.manifest}} {
		if repo, rest, ok := strings.Cut(path, part.sep); ok {
			part.handle(w, r, repo, rest)
			return
		}
	}
	refuse(w, 404, "UNSUPPORTED", "no such place")
}

func (f *fake) blob(w http.ResponseWriter, r *http.Request, repo, d string) {
	f.mu.Lock()
	b, ok := f.blobs[repo+"@"+d]
	f.mu.Unlock()
	if !ok {
		refuse(w, 404, codeBlobUnknown, "blob unknown to registry")
		return
	}
	w.Header().Set("Docker-Content-Digest", d)
	http.ServeContent(w, r, "", zeroTime, bytes.NewReader(b))
}

func (f *fake) upload(w http.ResponseWriter, r *http.Request, repo, id string) {
	where := func(n int) {
		w.Header().Set("Location", "/v2/"+repo+"/blobs/uploads/"+id+"?_state="+strconv.Itoa(n))
		w.Header().Set("Range", fmt.Sprintf("0-%d", max(n-1, 0)))
	}
	if r.Method == http.MethodPost {
		if mount := r.URL.Query().Get("mount"); mount != "" {
			f.mu.Lock()
			b, ok := f.blobs[r.URL.Query().Get("from")+"@"+mount]
			if ok {
				f.blobs[repo+"@"+mount] = b
			}
			f.mu.Unlock()
			if ok {
				w.WriteHeader(201)
				return
			}
		}
		f.mu.Lock()
		f.begun++
		id = fmt.Sprint("s", f.begun)
		f.sessions[id] = &session{}
		f.mu.Unlock()
		where(0)
		if f.minChunk > 0 {
			w.Header().Set("OCI-Chunk-Min-Length", fmt.Sprint(f.minChunk))
		}
		w.WriteHeader(202)
		return
	}
	f.mu.Lock()
	s := f.sessions[id]
	f.mu.Unlock()
	if s == nil {
		refuse(w, 404, codeBlobUploadUnknown, "upload unknown")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodGet {
		where(s.Len())
		w.WriteHeader(204)
		return
	}
	if f.maxBody > 0 && r.ContentLength > f.maxBody {
		w.WriteHeader(413)
		return
	}
	if c := r.Header.Get("Content-Range"); c != "" && c != fmt.Sprintf("%d-%d", s.Len(), int64(s.Len())+r.ContentLength-1) || r.URL.Query().Get("_state") != strconv.Itoa(s.Len()) {
		refuse(w, 416, codeRangeInvalid, c)
		return
	}
	n, err := io.Copy(s, r.Body)
	if err != nil || n != max(r.ContentLength, 0) {
		if f.forgets {
			f.mu.Lock()
			delete(f.sessions, id)
			f.mu.Unlock()
		}
		panic(http.ErrAbortHandler)
	}
	if r.Method == http.MethodPatch {
		if n < f.minChunk {
			refuse(w, 416, codeRangeInvalid, "too small")
			return
		}
		where(s.Len())
		w.WriteHeader(202)
		return
	}
	want := r.URL.Query().Get("digest")
	if got := digest.FromBytes(s.Bytes()).String(); got != want {
		refuse(w, 400, codeDigestInvalid, "provided digest did not match uploaded content")
		return
	}
	f.mu.Lock()
	f.blobs[repo+"@"+want] = s.Bytes()
	delete(f.sessions, id)
	f.mu.Unlock()
	w.Header().Set("Docker-Content-Digest", want)
	w.WriteHeader(201)
}

func (f *fake) manifest(w http.ResponseWriter, r *http.Request, repo, ref string) {
	key := repo + ":" + ref
	if strings.HasPrefix(ref, "sha256:") {
		key = repo + "@" + ref
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method != http.MethodPut {
		b, ok := f.manifests[key]
		if !ok {
			refuse(w, 404, "MANIFEST_UNKNOWN", "manifest unknown")
			return
		}
		w.Header().Set("Content-Type", f.types[key])
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(b).String())
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		if r.Method == http.MethodGet {
			w.Write(b)
		}
		return
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	d := ocispec.Descriptor{MediaType: r.Header.Get("Content-Type"), Digest: digest.FromBytes(b), Size: int64(len(b))}
	m, err := ParseManifest(d, b)
	if err != nil {
		refuse(w, 400, "MANIFEST_INVALID", err.Error())
		return
	}
	for _, l := range m.Blobs() {
		if int64(len(f.blobs[repo+"@"+l.Digest.String()])) != l.Size {
			refuse(w, 400, codeManifestBlobUnknown, "blob unknown to registry: "+l.Digest.String())
			return
		}
	}
	for _, c := range m.Manifests {
		if f.manifests[repo+"@"+c.Digest.String()] == nil {
			refuse(w, 400, codeManifestBlobUnknown, "manifest unknown to registry: "+c.Digest.String())
			return
		}
	}
	if strings.HasPrefix(ref, "sha256:") && ref != d.Digest.String() {
		refuse(w, 400, codeDigestInvalid, "")
		return
	}
	for _, k := range []string{key, repo + "@" + d.Digest.String()} {
		f.manifests[k], f.types[k] = b, d.MediaType
	}
	w.Header().Set("Docker-Content-Digest", d.Digest.String())
	w.WriteHeader(201)
}

// holds checks that a repository has all of a content, byte for byte, and tags name it.
func (f *fake) holds(t testing.TB, repo string, c *Content, blobs memory, tags ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range c.Manifests {
		m := &c.Manifests[i]
		if !bytes.Equal(f.manifests[repo+"@"+m.Descriptor.Digest.String()], m.Bytes) {
			t.Errorf("%s lacks the manifest %s", repo, m.Descriptor.Digest)
		}
		for _, d := range m.Blobs() {
			if !bytes.Equal(f.blobs[repo+"@"+d.Digest.String()], blobs[d.Digest]) {
				t.Errorf("%s lacks the blob %s", repo, d.Digest)
			}
		}
	}
	for _, tag := range tags {
		if !bytes.Equal(f.manifests[repo+":"+tag], c.Root().Bytes) {
			t.Errorf("%s: tag %s doesn't name the image", repo, tag)
		}
	}
}

// memory is blobs in memory.
type memory map[digest.Digest][]byte

func (m memory) put(b []byte) digest.Digest {
	d := digest.FromBytes(b)
	m[d] = b
	return d
}

// noise is n bytes that depend on a seed.
func noise(seed string, n int) []byte {
	out := make([]byte, 0, n+sha256.Size)
	h := sha256.Sum256([]byte(seed))
	for len(out) < n {
		out = append(out, h[:]...)
		h = sha256.Sum256(h[:])
	}
	return out[:n]
}

// newImage makes an image with layers of these sizes.
func newImage(t testing.TB, blobs memory, name string, sizes ...int) ocispec.Descriptor {
	t.Helper()
	config := []byte(`{"architecture":"amd64","os":"linux","config":{"Labels":{"name":"` + name + `"}}}`)
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: blobs.put(config), Size: int64(len(config))}}
	m.SchemaVersion = 2
	for i, n := range sizes {
		b := noise(fmt.Sprint(i), n)
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: blobs.put(b), Size: int64(n)})
	}
	return putJSON(t, blobs, m.MediaType, m)
}

func newIndex(t testing.TB, blobs memory, images ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	x := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: images}
	x.SchemaVersion = 2
	return putJSON(t, blobs, x.MediaType, x)
}

func putJSON(t testing.TB, blobs memory, mediaType string, v any) ocispec.Descriptor {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: blobs.put(b), Size: int64(len(b))}
}

func content(t testing.TB, blobs memory, root ocispec.Descriptor) *Content {
	t.Helper()
	c, err := ReadContent(root, func(d ocispec.Descriptor) ([]byte, error) { return blobs[d.Digest], nil })
	if err != nil {
		t.Fatal(err)
	}
	return c
}
