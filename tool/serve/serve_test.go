package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/image"
	"github.com/rules-strata/rules_strata/tool/image/imagetest"
)

// mini is a small image in the forms that there are on a disk, by their names.
func mini(t testing.TB) (img *image.Image, forms map[string]string) {
	t.Helper()
	layers := imagetest.Mini(t, "../../testdata", "gzip")
	img, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux"}, layers)
	dir := t.TempDir()
	forms = map[string]string{}
	for _, format := range image.ArchiveFormats() {
		forms[format] = filepath.Join(dir, format+".tar")
		f, err := os.Create(forms[format])
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := (image.Archive{Format: format}).Write(t.Context(), f, img, blobs, []string{"mini:1"}); err != nil {
			t.Fatal(err)
		}
	}
	forms["layout"] = filepath.Join(dir, "layout")
	if err := image.WriteLayout(t.Context(), forms["layout"], img, blobs, []string{"mini:1"}, image.Copy); err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	list := []map[string]string{}
	for _, l := range layers {
		list = append(list, map[string]string{"digestFile": l.DigestPath, "blob": l.BlobPath})
	}
	parts, err := json.Marshal(map[string]any{
		"manifest": write("manifest.json", img.Manifest), "config": write("config.json", img.Config), "layers": list,
	})
	if err != nil {
		t.Fatal(err)
	}
	forms["parts"] = write("parts.json", parts)
	return img, forms
}

func start(t testing.TB, s Source) (url, host string) {
	t.Helper()
	h := httptest.NewServer(NewHandler(s))
	t.Cleanup(h.Close)
	return h.URL, h.Listener.Addr().String()
}

// Each form of an image on the disk comes to a client as the same image, whole.
func TestImages_Forms(t *testing.T) {
	img, forms := mini(t)
	s := new(Images)
	defer s.Close()
	for form, path := range forms {
		if err := s.Add("app/"+form+":v1", path); err != nil {
			t.Fatal(err)
		}
	}
	_, host := start(t, s)
	for form := range forms {
		ref, err := name.ParseReference(host+"/app/"+form+":v1", name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		pulled, err := remote.Image(ref)
		if err == nil && form == image.FormatDockerArchive { // Its layers aren't compressed, and validate reads only such as are.
			err = validate.Image(pulled, validate.Fast)
		} else if err == nil {
			err = validate.Image(pulled)
		}
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		d, err := pulled.Digest()
		// docker's archive has no manifest: one is made of what it says.
		if err != nil || form != image.FormatDockerArchive && d.String() != img.Descriptor.Digest.String() {
			t.Errorf("%s: %s, %v; want %s", form, d, err, img.Descriptor.Digest)
		}
	}
}

// Of an index clients choose the image that they want.
func TestImages_Index(t *testing.T) {
	layers := imagetest.Mini(t, "../../testdata", "gzip")
	amd64, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux"}, layers)
	arm64, _ := imagetest.Build(t, image.Settings{System: "aarch64-linux"}, layers)
	index, err := image.BuildIndex([]ocispec.Descriptor{amd64.Descriptor, arm64.Descriptor}, nil)
	if err == nil {
		index, err = index.WithImages([]*image.Image{amd64, arm64})
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "index")
	if err := image.WriteLayout(t.Context(), dir, index, blobs, nil, image.Copy); err != nil {
		t.Fatal(err)
	}
	s := new(Images)
	defer s.Close()
	if err := s.Add("both", dir); err != nil {
		t.Fatal(err)
	}
	_, host := start(t, s)
	ref, err := name.ParseReference(host+"/both", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := remote.Index(ref)
	if err == nil {
		err = validate.Index(whole)
	}
	if err != nil {
		t.Fatal(err)
	}
	if d, err := whole.Digest(); err != nil || d.String() != index.Descriptor.Digest.String() {
		t.Errorf("%s, %v; want %s", d, err, index.Descriptor.Digest)
	}
	one, err := remote.Image(ref, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "arm64"}))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := one.Digest(); err != nil || d.String() != arm64.Descriptor.Digest.String() {
		t.Errorf("arm64 is %s, %v; want %s", d, err, arm64.Descriptor.Digest)
	}
}

// An image that is built anew is served anew, and one that is damaged isn't served.
func TestImages_Rebuilt(t *testing.T) {
	img, forms := mini(t)
	other, blobs := imagetest.Build(t, image.Settings{System: "x86_64-linux", User: "7"}, imagetest.Mini(t, "../../testdata", "zstd"))
	s := new(Images)
	defer s.Close()
	for _, form := range []string{image.FormatArchive, "layout", "parts"} {
		if err := s.Add(form, forms[form]); err != nil {
			t.Fatal(err)
		}
	}
	digestIs := func(repository string, want digest.Digest) {
		t.Helper()
		m, err := s.Manifest(t.Context(), repository, DefaultTag)
		if err != nil || m.Digest != want {
			t.Errorf("%s: %v, %v; want %s", repository, m, err, want)
		}
	}
	for _, form := range []string{image.FormatArchive, "layout", "parts"} {
		digestIs(form, img.Descriptor.Digest)
	}
	// A blob that is open stays what it was.
	b, err := s.Blob(t.Context(), image.FormatArchive, img.Layers[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{image.FormatArchive, "layout"} {
		if err := os.RemoveAll(forms[form]); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(forms[image.FormatArchive])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := (image.Archive{Format: image.FormatArchive}).Write(t.Context(), f, other, blobs, nil); err != nil {
		t.Fatal(err)
	}
	if err := image.WriteLayout(t.Context(), forms["layout"], other, blobs, nil, image.Copy); err != nil {
		t.Fatal(err)
	}
	digestIs(image.FormatArchive, other.Descriptor.Digest)
	digestIs("layout", other.Descriptor.Digest)
	if d, err := digest.FromReader(b); err != nil || d != img.Layers[0].Digest {
		t.Errorf("the open blob is %s, %v", d, err)
	}
	b.Close()

	path := filepath.Join(forms["layout"], "blobs", "sha256", other.Layers[0].Digest.Encoded())
	blob, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Blob(t.Context(), "layout", other.Layers[0].Digest); err != nil {
		t.Fatal(err)
	}
	blob[len(blob)/2] ^= 1
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, blob, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Blob(t.Context(), "layout", other.Layers[0].Digest); err == nil || !strings.Contains(err.Error(), "BlobHash mismatch") {
		t.Errorf("a damaged blob: %v", err)
	}
}

func TestImages_Add(t *testing.T) {
	_, forms := mini(t)
	s := new(Images)
	defer s.Close()
	if err := s.Add("a/b", forms["layout"]); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, path, want string }{
		{"a/b", forms["layout"], "a/b:latest is given twice"},
		{"A", forms["layout"], "want parts of lower-case letters"},
		{"a/../b", forms["layout"], "want parts of lower-case letters"},
		{"a:", forms["layout"], "want 1 to 128 letters"},
		{"a:.x", forms["layout"], "want 1 to 128 letters"},
		{"c", filepath.Join(t.TempDir(), "none"), "no such file"},
		{"c", t.TempDir(), "it is no OCI layout"},
	} {
		if err := s.Add(tc.name, tc.path); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.name, err, tc.want)
		}
	}
}

// The protocol, a line for each thing that clients rely on (distribution spec 1.1).
func TestHandler(t *testing.T) {
	img, forms := mini(t)
	s := new(Images)
	defer s.Close()
	for _, n := range []string{"team/app:a", "team/app:b", "team/app:c", "manifests/blobs:latest", "zzz"} {
		if err := s.Add(n, forms["layout"]); err != nil {
			t.Fatal(err)
		}
	}
	url, _ := start(t, s)
	manifest, config, blob := img.Descriptor.Digest.String(), img.ConfigDescriptor.Digest.String(), img.Layers[0]
	layer := blob.Digest.String()
	none := "sha256:" + strings.Repeat("0", 64)
	type header map[string]string
	for _, tc := range []struct {
		name, method, path string
		send               header
		status             int
		want               header
		body               string // "": not looked at; "-": empty; "=…": these very bytes; else part of it
	}{
		{"base", "GET", "/v2/", nil, 200, header{"Docker-Distribution-API-Version": "registry/2.0", "Content-Type": "application/json"}, "={}"},
		{"base without a slash", "GET", "/v2", nil, 200, nil, "={}"},
		{"elsewhere", "GET", "/", nil, 404, nil, "NAME_UNKNOWN"},
		{"elsewhere, alike", "GET", "/v2x/app/manifests/a", nil, 404, nil, "NAME_UNKNOWN"},
		{"nothing of a repository", "GET", "/v2/team/app", nil, 404, nil, "NAME_UNKNOWN"},

		{"manifest by tag", "GET", "/v2/team/app/manifests/a", nil, 200, header{"Content-Type": ocispec.MediaTypeImageManifest, "Docker-Content-Digest": manifest, "ETag": `"` + manifest + `"`, "Content-Length": fmt.Sprint(len(img.Manifest))}, "=" + string(img.Manifest)},
		{"manifest by digest", "GET", "/v2/team/app/manifests/" + manifest, nil, 200, header{"Docker-Content-Digest": manifest}, "=" + string(img.Manifest)},
		{"manifest by an encoded digest", "GET", "/v2/team/app/manifests/" + strings.Replace(manifest, ":", "%3A", 1), nil, 200, nil, "=" + string(img.Manifest)},
		{"manifest, HEAD", "HEAD", "/v2/team/app/manifests/a", nil, 200, header{"Content-Type": ocispec.MediaTypeImageManifest, "Docker-Content-Digest": manifest, "Content-Length": fmt.Sprint(len(img.Manifest))}, "-"},
		{"manifest, unchanged", "GET", "/v2/team/app/manifests/a", header{"If-None-Match": `"x", W/"` + manifest + `"`}, 304, header{"ETag": `"` + manifest + `"`}, "-"},
		{"manifest, accepted among others", "GET", "/v2/team/app/manifests/a", header{"Accept": "text/html, " + ocispec.MediaTypeImageManifest + ";q=0.5"}, 200, nil, ""},
		{"manifest, not accepted", "GET", "/v2/team/app/manifests/a", header{"Accept": "application/vnd.docker.distribution.manifest.v2+json"}, 404, nil, "MANIFEST_UNKNOWN"},
		{"manifest, anything accepted", "GET", "/v2/team/app/manifests/a", header{"Accept": "*/*"}, 200, nil, ""},
		{"manifest, not compressed", "GET", "/v2/team/app/manifests/a", header{"Accept-Encoding": "gzip"}, 200, header{"Content-Encoding": ""}, "=" + string(img.Manifest)},
		{"no such tag", "GET", "/v2/team/app/manifests/d", nil, 404, header{"Content-Type": "application/json", "ETag": ""}, "MANIFEST_UNKNOWN"},
		{"no such tag, HEAD", "HEAD", "/v2/team/app/manifests/d", nil, 404, nil, "-"},
		{"no such manifest", "GET", "/v2/team/app/manifests/" + none, nil, 404, nil, "MANIFEST_UNKNOWN"},
		{"no such repository", "GET", "/v2/team/other/manifests/a", nil, 404, nil, "NAME_UNKNOWN"},
		{"words of paths as names", "GET", "/v2/manifests/blobs/manifests/latest", nil, 200, nil, "=" + string(img.Manifest)},

		{"config", "GET", "/v2/team/app/blobs/" + config, nil, 200, header{"Docker-Content-Digest": config}, "=" + string(img.Config)},
		{"blob, HEAD", "HEAD", "/v2/team/app/blobs/" + layer, nil, 200, header{"Content-Length": fmt.Sprint(blob.Size), "Accept-Ranges": "bytes", "Docker-Content-Digest": layer, "Content-Type": "application/octet-stream"}, "-"},
		{"blob, its beginning", "GET", "/v2/team/app/blobs/" + layer, header{"Range": "bytes=0-1"}, 206, header{"Content-Length": "2", "Content-Range": fmt.Sprintf("bytes 0-1/%d", blob.Size)}, "=\x1f\x8b"},
		{"blob, from where it broke", "GET", "/v2/team/app/blobs/" + layer, header{"Range": fmt.Sprintf("bytes=%d-", blob.Size-3)}, 206, header{"Content-Length": "3"}, ""},
		{"blob, another one meanwhile", "GET", "/v2/team/app/blobs/" + layer, header{"Range": "bytes=1-", "If-Range": `"x"`}, 200, header{"Content-Length": fmt.Sprint(blob.Size)}, ""},
		{"blob, beyond its end", "GET", "/v2/team/app/blobs/" + layer, header{"Range": fmt.Sprintf("bytes=%d-", blob.Size)}, 416, header{"Content-Range": fmt.Sprintf("bytes */%d", blob.Size)}, ""},
		{"blob, unchanged", "GET", "/v2/team/app/blobs/" + layer, header{"If-None-Match": `"` + layer + `"`}, 304, nil, "-"},
		{"blob, too many ranges", "GET", "/v2/team/app/blobs/" + layer, header{"Range": "bytes=0-0" + strings.Repeat(",1-1", 50)}, 200, nil, ""},
		{"blob, not compressed again", "GET", "/v2/team/app/blobs/" + layer, header{"Accept-Encoding": "gzip"}, 200, header{"Content-Encoding": "", "Content-Length": fmt.Sprint(blob.Size)}, ""},
		{"no such blob", "GET", "/v2/team/app/blobs/" + none, nil, 404, header{"Docker-Content-Digest": ""}, "BLOB_UNKNOWN"},

		{"tags", "GET", "/v2/team/app/tags/list", nil, 200, header{"Link": ""}, `={"name":"team/app","tags":["a","b","c"]}`},
		{"tags, a page", "GET", "/v2/team/app/tags/list?n=2", nil, 200, header{"Link": `</v2/team/app/tags/list?last=b&n=2>; rel="next"`}, `={"name":"team/app","tags":["a","b"]}`},
		{"tags, the last page", "GET", "/v2/team/app/tags/list?last=b&n=2", nil, 200, header{"Link": ""}, `={"name":"team/app","tags":["c"]}`},
		{"tags, none", "GET", "/v2/team/app/tags/list?n=0", nil, 200, header{"Link": ""}, `={"name":"team/app","tags":[]}`},
		{"tags, after one that isn't there", "GET", "/v2/team/app/tags/list?last=bb", nil, 200, nil, `={"name":"team/app","tags":["c"]}`},
		{"tags, a bad number", "GET", "/v2/team/app/tags/list?n=-1", nil, 400, nil, "PAGINATION_NUMBER_INVALID"},
		{"tags of none", "GET", "/v2/other/tags/list", nil, 404, nil, "NAME_UNKNOWN"},
		{"catalog", "GET", "/v2/_catalog", nil, 200, nil, `={"repositories":["manifests/blobs","team/app","zzz"]}`},
		{"catalog, a page", "GET", "/v2/_catalog?n=1&last=manifests/blobs", nil, 200, header{"Link": `</v2/_catalog?last=team%2Fapp&n=1>; rel="next"`}, `={"repositories":["team/app"]}`},
		{"referrers", "GET", "/v2/team/app/referrers/" + manifest, nil, 200, header{"Content-Type": ocispec.MediaTypeImageIndex}, `={"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`},
		{"referrers of a type", "GET", "/v2/team/app/referrers/" + manifest + "?artifactType=a/b", nil, 200, header{"OCI-Filters-Applied": "artifactType"}, ""},
		{"referrers of a tag", "GET", "/v2/team/app/referrers/a", nil, 400, nil, "DIGEST_INVALID"},

		{"push a blob", "POST", "/v2/team/app/blobs/uploads/", nil, 405, header{"Allow": "GET, HEAD"}, "UNSUPPORTED"},
		{"mount a blob", "POST", "/v2/team/app/blobs/uploads/?mount=" + layer + "&from=zzz", nil, 405, nil, "UNSUPPORTED"},
		{"go on with a push", "PATCH", "/v2/team/app/blobs/uploads/1-2", nil, 405, nil, "UNSUPPORTED"},
		{"ask for a push", "GET", "/v2/team/app/blobs/uploads/1-2", nil, 405, nil, "UNSUPPORTED"},
		{"push a manifest", "PUT", "/v2/team/app/manifests/a", nil, 405, nil, "UNSUPPORTED"},
		{"delete a manifest", "DELETE", "/v2/team/app/manifests/" + manifest, nil, 405, nil, "UNSUPPORTED"},

		{"dot dot", "GET", "/v2/../v2/zzz/manifests/latest", nil, 400, nil, "NAME_INVALID"},
		{"dot dot in a name", "GET", "/v2/team/../zzz/manifests/latest", nil, 400, nil, "NAME_INVALID"},
		{"dot dot, encoded", "GET", "/v2/team/%2e%2e/zzz/manifests/latest", nil, 400, nil, "NAME_INVALID"},
		{"an empty part", "GET", "/v2/team//app/manifests/a", nil, 400, nil, "NAME_INVALID"},
		{"no name", "GET", "/v2//manifests/a", nil, 400, nil, "NAME_INVALID"},
		{"capital letters", "GET", "/v2/Team/app/manifests/a", nil, 400, nil, "NAME_INVALID"},
		{"NUL", "GET", "/v2/team%00/app/manifests/a", nil, 400, nil, "NAME_INVALID"},
		{"a line's end", "GET", "/v2/team%0a/app/manifests/a", nil, 400, nil, "NAME_INVALID"},
		{"a host", "GET", "/v2/example.org:80/app/manifests/a", nil, 400, nil, "NAME_INVALID"},
		{"a long name", "GET", "/v2/" + strings.Repeat("a", 300) + "/manifests/a", nil, 400, nil, "NAME_INVALID"},
		{"a very long path", "GET", "/v2/" + strings.Repeat("a/", 5000) + "manifests/a", nil, 400, nil, "NAME_INVALID"},
		{"no tag", "GET", "/v2/team/app/manifests/", nil, 400, nil, "TAG_INVALID"},
		{"a bad tag", "GET", "/v2/team/app/manifests/.a", nil, 400, nil, "TAG_INVALID"},
		{"dot dot as a digest", "GET", "/v2/team/app/blobs/..", nil, 400, nil, "DIGEST_INVALID"},
		{"a digest too short", "GET", "/v2/team/app/blobs/sha256:00", nil, 400, nil, "DIGEST_INVALID"},
		{"a digest in capital letters", "GET", "/v2/team/app/blobs/sha256:" + strings.Repeat("A", 64), nil, 400, nil, "DIGEST_INVALID"},
		{"another algorithm", "GET", "/v2/team/app/blobs/sha512:" + strings.Repeat("0", 128), nil, 400, nil, "DIGEST_INVALID"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequest(tc.method, url+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept-Encoding", "identity")
			for k, v := range tc.send {
				req.Header.Set(k, v)
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tc.status {
				t.Errorf("status %d, want %d: %.200q", resp.StatusCode, tc.status, body)
			}
			for k, v := range tc.want {
				if got := resp.Header.Get(k); got != v {
					t.Errorf("%s: %q, want %q", k, got, v)
				}
			}
			switch want, exact := strings.CutPrefix(tc.body, "="); {
			case tc.body == "-" && len(body) > 0, exact && string(body) != want, !exact && tc.body != "-" && !strings.Contains(string(body), want):
				t.Errorf("body %.300q, want %.300q", body, tc.body)
			}
			if tc.status >= 400 && tc.status != 416 && tc.method != "HEAD" {
				var e struct {
					Errors []struct{ Code, Message string }
				}
				if err := json.Unmarshal(body, &e); err != nil || len(e.Errors) != 1 || e.Errors[0].Code == "" || e.Errors[0].Message == "" {
					t.Errorf("%q is no list of errors: %v", body, err)
				}
			}
		})
	}
}

// failing has no image, and says why.
type failing struct {
	Source
	err error
}

func (f failing) Manifest(context.Context, string, string) (*Manifest, error) { return nil, f.err }

// What isn't meant for clients stays in the log, and the first source that knows a name has the word.
func TestErrors(t *testing.T) {
	secret := failing{err: errors.New("open /home/me/secret: permission denied")}
	unknown := failing{err: Errorf(CodeNameUnknown, "not here")}
	known := new(Images)
	defer known.Close()
	_, forms := mini(t)
	if err := known.Add("x", forms["layout"]); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		s      Source
		status int
		body   string
	}{
		{secret, 500, `{"errors":[{"code":"UNKNOWN","message":"this failed on the server; its log says why"}]}`},
		{Join(unknown, secret), 500, "UNKNOWN"},
		{Join(secret, known), 500, "UNKNOWN"},
		{Join(unknown, known), 200, "schemaVersion"},
		{Join(known, unknown), 200, "schemaVersion"},
		{Join(unknown), 404, "not here"},
	} {
		w := httptest.NewRecorder()
		var told Event
		logged(NewHandler(tc.s), func(e Event) { told = e }).ServeHTTP(w, httptest.NewRequest("GET", "/v2/x/manifests/latest", nil))
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.body) || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%d %s, want %d %s", w.Code, w.Body, tc.status, tc.body)
		}
		if tc.status == 500 && (told.Err == nil || !strings.Contains(told.Err.Error(), "secret")) || told.Status != tc.status || told.Bytes != int64(w.Body.Len()) {
			t.Errorf("the log says %+v", told)
		}
	}
}

func TestLimiter(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLimiter(2)
	l.now = func() time.Time { return now }
	passed := func(client string, n int) (k int) {
		for range n {
			if l.wait(client) == 0 {
				k++
			}
		}
		return k
	}
	if n := passed("a", 100); n != 20 {
		t.Errorf("%d at once, want 20", n)
	}
	if n := passed("b", 5); n != 5 {
		t.Errorf("%d of another, want 5", n)
	}
	if w := l.wait("a"); w != 500*time.Millisecond {
		t.Errorf("wait %s, want 0.5s", w)
	}
	now = now.Add(3 * time.Second)
	if n := passed("a", 100); n != 6 {
		t.Errorf("%d after 3 s, want 6", n)
	}
	for i := range 3 * maxClients {
		l.wait(fmt.Sprint(i))
	}
	if len(l.clients) > maxClients || l.recent.Len() != len(l.clients) {
		t.Errorf("%d clients are remembered", len(l.clients))
	}
}

// slow is a source whose manifest comes when it is let go.
type slow struct {
	*Images
	asked, letGo chan struct{}
}

func (s slow) Manifest(ctx context.Context, repository, reference string) (*Manifest, error) {
	s.asked <- struct{}{}
	select {
	case <-s.letGo:
		return s.Images.Manifest(ctx, repository, reference)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Told to stop, the server takes no more, lets what runs come to its end, and cuts off what takes longer.
func TestRun_Stop(t *testing.T) {
	_, forms := mini(t)
	for _, tc := range []struct {
		name  string
		grace time.Duration
		ends  bool
	}{{"comes to its end", time.Minute, true}, {"is cut off", 10 * time.Millisecond, false}} {
		t.Run(tc.name, func(t *testing.T) {
			s := slow{new(Images), make(chan struct{}, 1), make(chan struct{})}
			defer s.Close()
			if err := s.Add("x", forms["layout"]); err != nil {
				t.Fatal(err)
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- Run(ctx, l, Options{Source: s, Grace: tc.grace, MaxConnections: 10, Rate: 100}) }()
			url := "http://" + l.Addr().String() + "/v2/"
			answer := make(chan error, 1)
			go func() {
				resp, err := http.Get(url + "x/manifests/latest")
				if err == nil {
					resp.Body.Close()
					if resp.StatusCode != 200 {
						err = errors.New(resp.Status)
					}
				}
				answer <- err
			}()
			<-s.asked
			stop()
			if tc.ends {
				for { // It isn't known when it has stopped listening; but then it has for good.
					c, err := net.Dial("tcp", l.Addr().String())
					if err != nil {
						break
					}
					c.Close()
				}
				close(s.letGo)
			}
			if err := <-answer; (err == nil) != tc.ends {
				t.Errorf("the client got %v", err)
			}
			if err := <-ended; err != nil {
				t.Errorf("the server ended by %v", err)
			}
		})
	}
}

// More connections than there may be wait for their turn.
func TestRun_Connections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, l, Options{Source: new(Images), MaxConnections: 1}) }()
	first, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(first, "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := first.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	fmt.Fprint(second, "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
	second.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the second connection: %v", err)
	}
	first.Close()
	second.SetReadDeadline(time.Time{})
	if _, err := second.Read(make([]byte, 1)); err != nil {
		t.Errorf("the second connection, when the first is closed: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A request whose body never comes is answered, and doesn't hold its connection for ever, whatever its method.
func TestRun_Body(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, l, Options{Source: new(Images), Rate: 0.01}) }() // All but the first are too many.
	for _, request := range []string{
		"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
		"GET /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
		"HEAD /v2/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
		"POST /v2/x/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
	} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, request)
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 ") {
			t.Errorf("%q: %q, %v", request, answer, err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// gone is a source that waits until a client has gone, and breaks for another.
type gone struct {
	*Images
	asked chan struct{}
}

func (g gone) Manifest(ctx context.Context, repository, _ string) (*Manifest, error) {
	if repository == "panic" {
		panic("unthought of")
	}
	close(g.asked)
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// A client that goes away is no failure of the server; a panic is one, and is told.
func TestRun_Events(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended, events := make(chan error, 1), make(chan Event, 10)
	g := gone{new(Images), make(chan struct{})}
	go func() { ended <- Run(ctx, l, Options{Source: g, Log: func(e Event) { events <- e }}) }()
	url := "http://" + l.Addr().String() + "/v2/"
	client, leave := context.WithCancel(t.Context())
	go func() { <-g.asked; leave() }()
	r, err := http.NewRequestWithContext(client, http.MethodGet, url+"x/manifests/latest", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := http.DefaultClient.Do(r); !errors.Is(err, context.Canceled) {
		t.Errorf("the client that went away: %v", err)
	}
	if e := <-events; e.Status != StatusGone || !errors.Is(e.Err, errGone) {
		t.Errorf("the client that went away: %d, %v", e.Status, e.Err)
	}
	if resp, err := http.Get(url + "panic/manifests/latest"); err == nil {
		t.Errorf("a panic is answered by %s", resp.Status)
		resp.Body.Close()
	}
	if e := <-events; e.Status != 500 || e.Err == nil || !strings.Contains(e.Err.Error(), "unthought of") || !strings.Contains(e.Err.Error(), "serve_test.go") {
		t.Errorf("a panic: %d, %v", e.Status, e.Err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A path never comes to a source unless its name and its reference are well formed, however it is written.
func FuzzParseRoute(f *testing.F) {
	for _, s := range []string{
		"/v2/", "/v2/_catalog", "/v2/a/b/manifests/latest", "/v2/a/blobs/sha256:" + strings.Repeat("0", 64), "/v2/a/tags/list",
		"/v2/../../etc/manifests/a", "/v2/a/blobs/uploads/", "/v2/a//b/manifests/x", "/v2/A/manifests/x", "/v2/a\x00/manifests/x",
		"/v2/localhost/manifests/manifests/a", "/v2/a:b/manifests/c", "/v2/a@b/manifests/c", "/v2/a/referrers/sha256:" + strings.Repeat("f", 64),
	} {
		f.Add(s)
	}
	component := func(s string) bool {
		for _, sep := range []string{"..", "___", "._", "_.", "-.", ".-", "-_", "_-"} {
			if strings.Contains(s, sep) {
				return false
			}
		}
		trimmed := strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789._-")
		return s != "" && trimmed == "" && strings.IndexByte("._-", s[0]) < 0 && strings.IndexByte("._-", s[len(s)-1]) < 0
	}
	f.Fuzz(func(t *testing.T, path string) {
		r, err := parseRoute(path)
		if err != nil {
			if statuses[err.Code] == 0 || err.Message == "" {
				t.Errorf("%q: %v", path, err)
			}
			return
		}
		if r.kind == routeBase || r.kind == routeCatalog {
			return
		}
		if len(r.repository) > 255 || slices.ContainsFunc(strings.Split(r.repository, "/"), func(s string) bool { return !component(s) }) {
			t.Errorf("%q: repository %q", path, r.repository)
		}
		if strings.Contains(r.reference, ":") || r.kind == routeBlob || r.kind == routeReferrers {
			if r.kind != routeUpload && digest.Digest(r.reference).Validate() != nil {
				t.Errorf("%q: digest %q", path, r.reference)
			}
		} else if strings.ContainsAny(r.reference, "/\x00 ") || len(r.reference) > 128 && r.kind == routeManifest {
			t.Errorf("%q: tag %q", path, r.reference)
		}
		if r.kind == routeManifest || r.kind == routeBlob || r.kind == routeReferrers {
			word := map[int]string{routeManifest: "manifests", routeBlob: "blobs", routeReferrers: "referrers"}[r.kind]
			if want := "/v2/" + r.repository + "/" + word + "/" + r.reference; path != want {
				t.Errorf("%q is taken for %q", path, want)
			}
		}
	})
}
