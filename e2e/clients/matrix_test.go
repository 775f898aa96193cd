package clients_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// sample is an image that the matrix moves by each way.
type sample struct {
	name string // and its tag: probe:NAME
	file string // an archive or a layout
	// digest is that of the manifest or index which its tag names.
	digest digest.Digest
	// output is what its program prints.
	output string
	// zstd: so are its layers. index: it is one for several platforms. many: it has so many layers that each way takes long.
	zstd, index, many bool
}

// fileLayersOfMany is how many layers of a file each lie on the three of a probe, to make a hundred.
const fileLayersOfMany = 97

// samples are one image in each compression, an index, and an image of a hundred layers.
func samples(t *testing.T) []sample {
	t.Helper()
	var all []sample
	for _, compression := range compressions {
		img := probe(t, compression)
		all = append(all, sample{name: compression, file: img.archive, digest: img.digest, output: probeOutput, zstd: compression == "zstd"})
	}
	dir, lock := scratch(t), probeLock(t)
	// build adds the image that arguments build.
	build := func(s sample, args ...string) {
		s.file = filepath.Join(dir, s.name+".tar")
		digestFile := filepath.Join(dir, s.name+".digest")
		if err := strata(append(args, "--lock", lock, "--root=probe", "--tag=probe:"+s.name, "-o", s.file, "--digest-file", digestFile)...); err != nil {
			t.Fatal(err)
		}
		judgeByOracle(t, s.file)
		s.digest = digest.Digest(strings.TrimSpace(readFile(t, digestFile)))
		all = append(all, s)
	}
	build(sample{name: "index", output: probeOutput, index: true}, probeSettings("--system=all")...)
	args := []string{
		"build", "--system=x86_64-linux", "--max-layers=100",
		"--entrypoint=" + bashPath + "/bin/bash", "--entrypoint=-c", `--cmd=set -- /layers/*; echo "$# files"; echo "$(<"$1") to $(<"${*: -1}")"`,
	}
	for i := range fileLayersOfMany {
		spec := filepath.Join(dir, fmt.Sprintf("%02d.json", i))
		text := fmt.Sprintf(`{"entries": [{"type": "text", "path": "layers/%02d", "text": "layer %d"}]}`, i, i)
		if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--files", spec)
	}
	build(sample{name: "many", output: fmt.Sprintf("%d files\nlayer 0 to layer %d", fileLayersOfMany, fileLayersOfMany-1), many: true}, args...)
	return all
}

// TestMatrix has each image go each way to each engine, and run there: by the engine's own load, by strata load, and pulled
// from each registry that strata push has sent it to. (The one of a hundred layers goes by one way: they take long.)
// What an engine can't do it must say; and strata load still can.
// Whoever only copies images gets them from the registries, too.
func TestMatrix(t *testing.T) {
	images := samples(t)
	registries := []struct{ name, host string }{{"registry2", registry(t)}, {"registry3", registry3(t)}}
	for _, r := range registries {
		for _, s := range images {
			if got := strataPush(t, s.file, r.host+"/probe:"+s.name).Digest; got != s.digest.String() {
				t.Errorf("%s: pushed %s as %s, want %s", r.name, s.name, got, s.digest)
			}
		}
	}
	for _, c := range copiers {
		t.Run(c.name, func(t *testing.T) {
			c.find(t)
			for _, r := range registries {
				for _, s := range images {
					t.Run(r.name+"_"+s.name, func(t *testing.T) { c.judge(t, r.host, s) })
				}
			}
		})
	}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			engine := e.start(t)
			for _, s := range images {
				// judge runs the image of a name and takes it away.
				judge := func(t *testing.T, name, failure string) {
					t.Helper()
					if s.zstd && e.noZstd {
						if !strings.Contains(failure, "invalid tar header") {
							t.Errorf("it can't read zstd, and says %q", failure)
						}
						return
					}
					if failure != "" {
						t.Fatal(failure)
					}
					judgeSample(t, engine, name, s)
				}
				for _, r := range registries {
					if s.many && r != registries[0] {
						continue
					}
					t.Run(r.name+"_"+s.name, func(t *testing.T) {
						ref := r.host + "/probe:" + s.name
						failure := engine.pull(t, ref)
						if failure == "" && !engine.pulled(t, ref, s.digest) {
							t.Errorf("it hasn't pulled %s", s.digest)
						}
						judge(t, ref, failure)
					})
				}
				if s.many {
					continue
				}
				name := "docker.io/library/probe:" + s.name
				t.Run("load_"+s.name, func(t *testing.T) {
					failure := engine.load(t, s.file)
					if s.index && e.noIndex {
						engine.remove(t, name+"-arm64")
						judge(t, name+"-amd64", failure)
					} else {
						judge(t, name, failure)
					}
				})
				t.Run("strata_load_"+s.name, func(t *testing.T) {
					args := []string{s.file}
					first := strataLoad(t, engine, args...)
					if first.LayersSent == 0 {
						t.Errorf("%+v, want layers to be sent", first)
					}
					// Another name costs nothing.
					const other = "docker.io/library/other:name"
					if again := strataLoad(t, engine, append(args, "--tag=other:name")...); again.LayersSent != 0 || !slices.Equal(again.Tags, []string{other}) ||
						again.BytesSent != nil && *again.BytesSent > 20_000 {
						t.Errorf("by another name: %+v, want nothing to be sent", again)
					}
					for _, name := range first.Tags {
						engine.remove(t, name)
					}
					judgeSample(t, engine, other, s)
				})
			}
			t.Run("strata_load_update", func(t *testing.T) { judgeUpdate(t, engine) })
		})
	}
}

// judgeSample runs the sample that an engine has by a name, and takes it away.
func judgeSample(t *testing.T, e engine, name string, s sample) {
	t.Helper()
	if got := e.run(t, name); got != s.output {
		t.Errorf("the program says %q, want %q", got, s.output)
	}
	e.remove(t, name)
}

// copiers are those who get images from registries and run none.
var copiers = []struct {
	name  string
	find  func(t *testing.T)
	judge func(t *testing.T, host string, s sample)
}{
	{"skopeo", func(t *testing.T) { need(t, "skopeo") }, judgeSkopeo},
	{"skopeo_newer", func(t *testing.T) { newer(t, "skopeo") }, judgeSkopeo},
	{"oras", func(t *testing.T) { newer(t, "oras") }, func(t *testing.T, host string, s sample) {
		dir := scratch(t)
		run(t, "oras", "copy", "--from-plain-http", "--to-oci-layout", host+"/probe:"+s.name, dir+"/layout:dev")
		judgeCopy(t, dir+"/layout", s)
	}},
	{"crane", func(t *testing.T) { need(t, "crane") }, func(t *testing.T, host string, s sample) {
		ref := host + "/probe:" + s.name
		run(t, "crane", "copy", "--insecure", ref, host+"/crane:"+s.name)
		if got := run(t, "crane", "digest", "--insecure", host+"/crane:"+s.name); got != s.digest.String() {
			t.Errorf("copied %s, want %s", got, s.digest)
		}
		_, failure := try(t, "crane", "validate", "--insecure", "--remote", ref)
		if readable := s.name != "zstd" && s.name != "none"; readable && failure != "" {
			t.Error(failure)
		} else if !readable && failure == "" {
			t.Errorf("crane validate reads %s by now: tell so", s.name)
		}
	}},
}

func judgeSkopeo(t *testing.T, host string, s sample) {
	t.Helper()
	dir := scratch(t)
	run(t, "skopeo", "copy", "--quiet", "--all", "--preserve-digests", "--src-tls-verify=false", "docker://"+host+"/probe:"+s.name, "oci:"+dir+"/layout:dev")
	judgeCopy(t, dir+"/layout", s)
}

// judgeCopy judges a layout that a client has made of a sample.
func judgeCopy(t *testing.T, layout string, s sample) {
	t.Helper()
	judgeByOracle(t, layout)
	if index := readFile(t, filepath.Join(layout, "index.json")); !strings.Contains(index, s.digest.String()) {
		t.Errorf("index.json is\n%s\nwant %s in it", index, s.digest)
	}
}
