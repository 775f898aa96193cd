package clients_test

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// root is the top of the checkout, or of the test's runfiles.
const root = "../.."

// testKey is the key of testdata/web/keys that signed the cache.
const testKey = "strata-web-1:f3mF6lUioKmEsF3TziQjGjlDqBeyG+WYPjOdFzlhmBU="

// Store paths in testdata/web/cache.
const (
	webPath  = "/nix/store/dr6a8bs5f2hyww3awb6nnhxlg3qvfdhr-web-1.0"
	bashPath = "/nix/store/xznc9l6ppin9j93x7xsvaba3qkn46hwr-bash-5.2.15"
)

// probePaths is the closure of bashPath.
var probePaths = []string{
	"/nix/store/fkrb1qrhrnbscg7h6adzd8zp536bkfgb-glibc-2.36-9",
	"/nix/store/qf1h8dvj1rkrczcmckiksaf5krvv2v2a-ncurses-6.4",
	bashPath,
}

// image is an image under test, in the two forms that it comes in, and what
// this file's own, plain reading of it says.
type image struct {
	// archive is the path of the hybrid tar, layout that of the OCI layout.
	archive, layout string
	// digest is the digest of the manifest, whose bytes are in raw.
	digest   digest.Digest
	raw      []byte
	manifest ocispec.Manifest
	config   ocispec.Image
	// name is the image's whole name, as "docker.io/library/web:dev".
	name string
}

// ociLayout is the layout as skopeo and umoci name it.
func (i *image) ociLayout() string { return i.layout + ":" + i.tag() }

// tag is the part of the name behind the colon.
func (i *image) tag() string { return i.name[strings.LastIndexByte(i.name, ':')+1:] }

// short is the name without docker's domain, as people type it.
func (i *image) short() string { return strings.TrimPrefix(i.name, "docker.io/library/") }

// web is the image of the example. Building it takes a second or two: once for all tests.
func web(t *testing.T) *image {
	t.Helper()
	return built(t, "web", func(dir string) (*image, error) {
		archive, layout, want := given("STRATA_IMAGE_ARCHIVE"), given("STRATA_IMAGE_LAYOUT"), given("STRATA_IMAGE_DIGEST")
		if archive == "" {
			archive = filepath.Join(dir, "image.tar")
			layout = filepath.Join(dir, "layout")
			build := []string{
				"build", "--lock", filepath.Join(root, "examples/web/strata.lock.json"), "--root", "web", "--tag", "web:dev",
				"--cmd", webPath + "/start", "--port", "18080/tcp", "--user", "65534:65534",
			}
			if err := strata(append(build, "-o", archive)...); err != nil {
				return nil, err
			}
			if err := strata(append(build, "-o", layout, "--format", "layout")...); err != nil {
				return nil, err
			}
		}
		i, err := readImage(dir, archive, layout)
		if err == nil && want != "" {
			var b []byte
			if b, err = os.ReadFile(want); err == nil && string(b) != i.digest.String()+"\n" {
				err = fmt.Errorf("%s: want %s and a newline, got %q", want, i.digest, b)
			}
		}
		return i, err
	})
}

// compressions are what a layer may be compressed with.
var compressions = []string{"gzip", "zstd", "none"}

// probe is a small image (bash and its closure, 6 MB in 3 layers) whose program
// prints what it was started with, in a layer compression. probeOutput is what
// it prints.
func probe(t *testing.T, compression string) *image {
	t.Helper()
	i := built(t, "probe-"+compression, func(dir string) (*image, error) {
		cache, err := filepath.Abs(filepath.Join(root, "testdata/web/cache"))
		if err != nil {
			return nil, err
		}
		lock := filepath.Join(dir, "strata.lock.json")
		if err := strata("lock", "--cache", "file://"+cache, "--public-key", testKey, "--root", "probe="+bashPath, "-o", lock); err != nil {
			return nil, err
		}
		archive := filepath.Join(dir, "probe.tar")
		if err := strata(append(probeSettings("--lock", lock, "--root", "probe"), "--tag", "probe:"+compression, "-o", archive, "--compression", compression)...); err != nil {
			return nil, err
		}
		return readImage(dir, archive, "")
	})
	judgeByOracle(t, i.archive)
	return i
}

// probeSettings are the arguments that build an image which prints probeOutput.
func probeSettings(args ...string) []string {
	return append([]string{
		"build", "--entrypoint=" + bashPath + "/bin/bash", "--entrypoint=-c", "--entrypoint=" + probeScript, "--entrypoint=probe",
		"--cmd=one", "--cmd=two words", "--env=GREETING=good day", "--user=1234:5678", "--workdir=/nix/store",
		"--label=org.example.label=a label",
	}, args...)
}

const (
	probeScript = `printf '%s|' "$GREETING" "$PWD" "$EUID" "${GROUPS[0]}" "$0" "$@"; [ -w /nix/store ] && echo writable || echo read-only`
	probeOutput = `good day|/nix/store|1234|5678|probe|one|two words|read-only`
)

// images are those that were built, by name.
var images sync.Map

func built(t *testing.T, name string, build func(dir string) (*image, error)) *image {
	t.Helper()
	once, _ := images.LoadOrStore(name, sync.OnceValues(func() (*image, error) {
		dir := filepath.Join(storageDir(), "image-"+name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		return build(dir)
	}))
	i, err := once.(func() (*image, error))()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// given is the file that an environment variable names: absolute, or relative
// to the top of the checkout.
func given(variable string) string {
	p := os.Getenv(variable)
	if p != "" && !filepath.IsAbs(p) {
		p = filepath.Join(root, p)
	}
	return p
}

// strataEnv names the program that Bazel built, else the one that buildStrata did.
const strataEnv = "STRATA_STRATA"

// buildStrata builds the command with Go where Bazel hasn't. It runs before the
// tests lose the network, which the go command may need for modules.
func buildStrata() error {
	if os.Getenv(strataEnv) != "" {
		return nil
	}
	exe := filepath.Join(workDir, "strata")
	c := exec.Command("go", "build", "-o", exe, "./tool/cmd/strata")
	c.Dir = root
	c.Env = append(os.Environ(), "HOME="+os.Getenv(homeBeforeEnv))
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./tool/cmd/strata: %w\n%s", err, out)
	}
	return os.Setenv(strataEnv, exe)
}

func strata(args ...string) error {
	out, err := exec.Command(given(strataEnv), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("strata %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// readImage reads an archive. Without a layout it takes the archive apart: it
// is one.
func readImage(dir, archive, layout string) (*image, error) {
	archive, err := filepath.Abs(archive)
	if err != nil {
		return nil, err
	}
	if layout == "" {
		layout = filepath.Join(dir, "layout")
		if err := untarLayout(archive, layout); err != nil {
			return nil, fmt.Errorf("%s: %w", archive, err)
		}
	} else if layout, err = filepath.Abs(layout); err != nil {
		return nil, err
	}
	i := &image{archive: archive, layout: layout}
	if err := i.readLayout(); err != nil {
		return nil, fmt.Errorf("%s: %w", archive, err)
	}
	if i.name == "" {
		return nil, fmt.Errorf("%s: index.json has no annotation io.containerd.image.name", archive)
	}
	return i, nil
}

func untarLayout(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	for t := tar.NewReader(f); ; {
		h, err := t.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case h.Typeflag != tar.TypeReg || h.Name == "manifest.json":
			continue
		case !filepath.IsLocal(h.Name):
			return fmt.Errorf("entry %q leads out of the archive", h.Name)
		}
		name := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err // also when an entry is there twice
		}
		if _, err := io.Copy(out, t); err != nil {
			return err
		}
		if err := out.Close(); err != nil {
			return err
		}
	}
}

// readLayout fills what the layout tells. It checks digests, but is no oracle:
// tool/validate is, and the clients are.
func (i *image) readLayout() error {
	var index ocispec.Index
	b, err := os.ReadFile(filepath.Join(i.layout, ocispec.ImageIndexFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &index); err != nil {
		return fmt.Errorf("index.json: %w", err)
	}
	if len(index.Manifests) != 1 {
		return fmt.Errorf("index.json: want 1 manifest, got %d", len(index.Manifests))
	}
	d := index.Manifests[0]
	i.digest = d.Digest
	i.name = d.Annotations["io.containerd.image.name"]
	if i.raw, err = i.blob(d); err != nil {
		return err
	}
	if err := json.Unmarshal(i.raw, &i.manifest); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	config, err := i.blob(i.manifest.Config)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(config, &i.config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if n, m := len(i.manifest.Layers), len(i.config.RootFS.DiffIDs); n == 0 || n != m {
		return fmt.Errorf("%d layers, %d diff IDs", n, m)
	}
	return nil
}

// blobPath is where a blob is in the layout.
func (i *image) blobPath(d digest.Digest) string {
	return filepath.Join(i.layout, "blobs", d.Algorithm().String(), d.Encoded())
}

func (i *image) blob(d ocispec.Descriptor) ([]byte, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(i.blobPath(d.Digest))
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(b); got != d.Digest || int64(len(b)) != d.Size {
		return nil, fmt.Errorf("blob %s of %d bytes: it is %s of %d", d.Digest, d.Size, got, len(b))
	}
	return b, nil
}
