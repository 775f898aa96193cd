package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/imagefile"
)

func reference(t testing.TB, c *Client, s string) name.Reference {
	t.Helper()
	r, err := c.Reference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// pushed is a registry that has an index of two images under r/x:v1.
func pushed(t *testing.T) (f *fake, c *Client, blobs memory, index *Content) {
	t.Helper()
	f = newFake(t)
	blobs = memory{}
	amd, arm := newImage(t, blobs, "amd64", 1000, 3<<20), newImage(t, blobs, "arm64", 1000, 2000)
	amd.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	arm.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	index = content(t, blobs, newIndex(t, blobs, amd, arm))
	c = New(quick())
	if _, err := c.Push(t.Context(), Push{Content: index, Repository: repo(t, c, f.host()+"/r/x"), Tags: []string{"v1"}, Sources: []Source{blobs}}); err != nil {
		t.Fatal(err)
	}
	f.requests()
	return f, c, blobs, index
}

// layout checks that a layout holds these blobs of a content and no others.
func checkLayout(t *testing.T, dir string, root ocispec.Descriptor, blobs memory, want ...ocispec.Descriptor) {
	t.Helper()
	l, err := imagefile.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got, err := l.Root(""); err != nil || got.Digest != root.Digest || got.MediaType != root.MediaType {
		t.Errorf("root %v, %v", got, err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "blobs", "sha256"))
	if err != nil {
		t.Fatal(err)
	}
	var got, names []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	for _, d := range want {
		names = append(names, d.Digest.Encoded())
		if b, err := os.ReadFile(filepath.Join(dir, "blobs", "sha256", d.Digest.Encoded())); err != nil || !bytes.Equal(b, blobs[d.Digest]) {
			t.Errorf("%s: other bytes (%v)", d.Digest, err)
		}
	}
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("the layout has %q, want %q", got, names)
	}
}

func TestPull(t *testing.T) {
	f, c, blobs, index := pushed(t)
	arm := index.Manifests[1]
	dir := filepath.Join(t.TempDir(), "arm")
	p := Pull{Reference: reference(t, c, f.host()+"/r/x:v1"), Platform: &ocispec.Platform{OS: "linux", Architecture: "arm64"}, Shallow: true, Dir: dir}
	r, err := c.Pull(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if r.Root.Digest != arm.Descriptor.Digest || r.Index != index.Root().Descriptor.Digest || r.Root.Annotations[imagefile.AnnotationSource] != fmt.Sprintf("%s/r/x@%s", f.host(), arm.Descriptor.Digest) {
		t.Errorf("%+v", r)
	}
	checkLayout(t, dir, arm.Descriptor, blobs, arm.Descriptor, arm.Config)
	// The same whole: the layers are added.
	p.Shallow = false
	f.requests()
	if _, err := c.Pull(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	checkLayout(t, dir, arm.Descriptor, blobs, append([]ocispec.Descriptor{arm.Descriptor, arm.Config}, arm.Layers...)...)
	if n := count(f.requests(), "GET /v2/r/x/blobs/"); n != 2 {
		t.Errorf("%d blobs fetched, want the two layers", n)
	}
	// Another image doesn't go there.
	p.Platform = nil
	if _, err := c.Pull(t.Context(), p); err == nil || !strings.Contains(err.Error(), "the directory has another image") {
		t.Errorf("error %v", err)
	}
	// The whole index, by its digest.
	p.Dir, p.Reference = filepath.Join(t.TempDir(), "all"), reference(t, c, f.host()+"/r/x@"+index.Root().Descriptor.Digest.String())
	if _, err := c.Pull(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	amd := index.Manifests[0]
	checkLayout(t, p.Dir, index.Root().Descriptor, blobs, index.Root().Descriptor, arm.Descriptor, amd.Descriptor, arm.Config, amd.Config, amd.Layers[0], amd.Layers[1], arm.Layers[1])
	// Nothing for that platform.
	p.Dir, p.Platform = filepath.Join(t.TempDir(), "none"), &ocispec.Platform{OS: "linux", Architecture: "s390x"}
	if _, err := c.Pull(t.Context(), p); err == nil || !strings.Contains(err.Error(), "has no image for linux/s390x; there are linux/amd64, linux/arm64/v8") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(p.Dir); err == nil {
		t.Error("a layout all the same")
	}
	// One image is for the platform that it is for.
	p.Reference = reference(t, c, f.host()+"/r/x@"+amd.Descriptor.Digest.String())
	if _, err := c.Pull(t.Context(), p); err == nil || !strings.Contains(err.Error(), "it is one image, for linux/amd64; want linux/s390x") {
		t.Errorf("error %v", err)
	}
	p.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	if _, err := c.Pull(t.Context(), p); err != nil {
		t.Error(err)
	}
}

// Whatever a registry calls a manifest: an error, or one that names blobs within bounds.
func FuzzParseManifest(f *testing.F) {
	blobs := memory{}
	image := newImage(f, blobs, "seed", 10, 20)
	for _, d := range []ocispec.Descriptor{image, newIndex(f, blobs, image)} {
		f.Add(d.MediaType, blobs[d.Digest])
		f.Add("", blobs[d.Digest])
	}
	f.Add(mediaTypeDockerManifest, []byte(`{"schemaVersion":2,"config":{"digest":"sha256:..","size":-1}}`))
	f.Add(mediaTypeDockerList, []byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:`+strings.Repeat("0", 64)+`","size":9007199254740993}]}`))
	f.Fuzz(func(t *testing.T, mediaType string, b []byte) {
		m, err := ParseManifest(ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}, b)
		if err != nil {
			return
		}
		for _, d := range append(m.Blobs(), m.Manifests...) {
			if d.Size < 0 || d.Digest.Validate() != nil {
				t.Errorf("%+v", d)
			}
		}
	})
}

func FuzzRangeEnd(f *testing.F) {
	for _, s := range []string{"0-0", "0-99", "bytes=0-5", "1-5", "0--1", "0-9223372036854775808", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if end, ok := rangeEnd(s); ok && end < 0 {
			t.Errorf("%q: %d", s, end)
		}
	})
}

// What is pulled shallow is pushed elsewhere: the layers go from registry to registry, or are mounted.
func TestPush_OfShallow(t *testing.T) {
	f, c, blobs, index := pushed(t)
	dir := filepath.Join(t.TempDir(), "x")
	if _, err := c.Pull(t.Context(), Pull{Reference: reference(t, c, f.host()+"/r/x:v1"), Shallow: true, Dir: dir}); err != nil {
		t.Fatal(err)
	}
	l, err := imagefile.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	root, err := l.Root("")
	if err != nil {
		t.Fatal(err)
	}
	x, err := ReadContent(root, l.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	from := repo(t, c, f.host()+"/r/x")
	other := newFake(t)
	if _, err := c.Push(t.Context(), Push{Content: x, Repository: repo(t, c, other.host()+"/y"), Sources: []Source{l, c.In(from)}}); err != nil {
		t.Fatal(err)
	}
	other.holds(t, "y", index, blobs)
}

// stall announces a body, sends its first bytes, and then nothing until the client goes.
func stall(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Content-Length", fmt.Sprint(3<<20))
	w.Write(noise("1", 1000))
	w.(http.Flusher).Flush()
	<-r.Context().Done()
	return true
}

func TestPull_Faults(t *testing.T) {
	var stalls atomic.Int64
	for _, tc := range []struct {
		name string
		do   func(w http.ResponseWriter, r *http.Request, n int64, big string) bool
		want string
	}{
		{"500 a few times", func(w http.ResponseWriter, _ *http.Request, n int64, _ string) bool {
			if n%2 == 1 {
				w.WriteHeader(500)
			}
			return n%2 == 1
		}, ""},
		{"429 for ever", func(w http.ResponseWriter, r *http.Request, _ int64, _ string) bool {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(429)
			return true
		}, "429"},
		{"cut again and again", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			if !strings.Contains(r.URL.Path, big) {
				return false
			}
			// Each time some 300 kB more than what was skipped.
			var from int
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			b := noise("1", 3<<20)
			if from > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(b)-1, len(b)))
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(b)-from))
			if from > 0 {
				w.WriteHeader(206)
			}
			w.Write(b[from:min(from+300_000, len(b))])
			if from+300_000 < len(b) {
				panic(http.ErrAbortHandler)
			}
			return true
		}, ""},
		{"cut for ever at one place", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			if !strings.Contains(r.URL.Path, big) {
				return false
			}
			w.Header().Set("Content-Length", fmt.Sprint(3<<20))
			w.Write(noise("1", 1000))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "after 1000 bytes of 3145728 (gave up after 5 attempts)"},
		{"the range is another one", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			if !strings.Contains(r.URL.Path, big) {
				return false
			}
			if r.Header.Get("Range") == "" {
				w.Header().Set("Content-Length", fmt.Sprint(3<<20))
				w.Write(noise("1", 1000))
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Content-Range", "bytes 0-99/100")
			w.WriteHeader(206)
			return true
		}, "it sends the range"},
		{"wrong bytes once", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			if !strings.Contains(r.URL.Path, big) || n > 6 {
				return false
			}
			w.Write(noise("wrong", 3<<20))
			return true
		}, ""},
		{"wrong bytes for ever", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			if !strings.Contains(r.URL.Path, big) {
				return false
			}
			w.Write(noise("wrong", 3<<20))
			return true
		}, "BlobHash mismatch"},
		{"more bytes than there are", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			if !strings.Contains(r.URL.Path, big) {
				return false
			}
			w.Write(noise("1", 4<<20))
			return true
		}, "BlobSize mismatch"},
		{"another manifest", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			if !strings.Contains(r.URL.Path, "/manifests/sha256:") {
				return false
			}
			fmt.Fprint(w, `{"schemaVersion":2}`)
			return true
		}, "breaks its word: want the manifest"},
		{"a manifest without end", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return true
				}
			}
		}, "has over 4194304 bytes"},
		{"not there", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			if !strings.Contains(r.URL.Path, big) {
				return false
			}
			refuse(w, 404, codeBlobUnknown, "gone\x1b[31m")
			return true
		}, "answers 404 Not Found: BLOB_UNKNOWN: gone [31m"},
		{"redirect in the clear", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			if !strings.Contains(r.URL.Path, big) {
				return false
			}
			w.Header().Set("Location", "http://192.0.2.1/blob?X-Signature=secret")
			w.WriteHeader(307)
			return true
		}, "plain HTTP would be spoken with 192.0.2.1"},
		{"redirect to a file", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			if !strings.Contains(r.URL.Path, big) {
				return false
			}
			w.Header().Set("Location", "file:///blob")
			w.WriteHeader(307)
			return true
		}, `leads to a URL of the scheme "file": want https or http`},
		{"a store of blobs quotes its signed URL", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			switch {
			case r.URL.Path == "/signed":
				refuse(w, 403, codeDenied, "the signature "+r.URL.Query().Get("X-Signature")+" has expired: "+r.URL.RawQuery)
			case strings.Contains(r.URL.Path, big):
				http.Redirect(w, r, "/signed?X-Signature=very-secret%2Fsignature", http.StatusTemporaryRedirect)
			default:
				return false
			}
			return true
		}, "DENIED: the signature *** has expired: X-Signature=***"},
		{"an announced blob never comes, once", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			return strings.Contains(r.URL.Path, big) && stalls.Add(1) == 1 && stall(w, r)
		}, ""},
		{"an announced blob never comes", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			return strings.Contains(r.URL.Path, big) && stall(w, r)
		}, "went silent"},
		{"an announced manifest never comes", func(w http.ResponseWriter, r *http.Request, n int64, big string) bool {
			return strings.Contains(r.URL.Path, "/manifests/") && stall(w, r)
		}, "went silent"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _, blobs, index := pushed(t)
			var n atomic.Int64
			big := index.Manifests[0].Layers[1].Digest.String()
			f.plan = func(w http.ResponseWriter, r *http.Request) bool { return tc.do(w, r, n.Add(1), big) }
			o := quick()
			if strings.Contains(tc.name, "never comes") {
				o.IdleTimeout = 200 * time.Millisecond
			}
			c := New(o)
			dir := filepath.Join(t.TempDir(), "x")
			p := Pull{Reference: reference(t, c, f.host()+"/r/x:v1"), Platform: &ocispec.Platform{OS: "linux", Architecture: "amd64"}, Dir: dir}
			_, err := c.Pull(t.Context(), p)
			if tc.want == "" && err != nil {
				t.Fatal(err)
			}
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "secret") {
					t.Fatalf("error %v, want %q", err, tc.want)
				}
				if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
				f.behave()
				if _, err := c.Pull(t.Context(), p); err != nil {
					t.Errorf("again: %v", err)
				}
			}
			amd := index.Manifests[0]
			checkLayout(t, dir, amd.Descriptor, blobs, append([]ocispec.Descriptor{amd.Descriptor, amd.Config}, amd.Layers...)...)
		})
	}
}

// Stopped in the middle, a pull says why and leaves nothing behind.
func TestPull_Stopped(t *testing.T) {
	f, c, _, index := pushed(t)
	big := index.Manifests[0].Layers[1].Digest.String()
	ctx, stop := context.WithCancelCause(t.Context())
	f.plan = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, big) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(3<<20))
		w.Write(noise("1", 1000))
		w.(http.Flusher).Flush()
		time.AfterFunc(50*time.Millisecond, func() { stop(errors.New("stopped by signal: interrupt")) })
		<-r.Context().Done()
		return true
	}
	dir := filepath.Join(t.TempDir(), "x")
	_, err := c.Pull(ctx, Pull{Reference: reference(t, c, f.host()+"/r/x:v1"), Dir: dir})
	if err == nil || err.Error() != "stopped by signal: interrupt" {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
