// Command registry measures what getting an image to where it runs costs: bytes over the wire, requests and time, of strata push
// next to crane, skopeo, oras and docker push, to distribution's registry on this machine; and of strata load next to docker load,
// into dockerds that it starts (as root). It prints two tables in Markdown, and puts them into docs/pushing.md with -update.
//
//	go run ./bench/registry
//	go run ./bench/registry -cache ~/.cache/strata-bench/small/zstd
//
// The image is the store paths of an unsigned binary cache, real packages as bench/run unpacks them, in layers of gzip. Each tool handles it
// as it is, again, with another store path in the place of one, and with another config; into a repository or a dockerd of its own. What isn't
// installed is left out (e2e/clients/setup.sh installs all). Times on a machine that does other things mean little; bytes and requests do.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/rules-strata/rules_strata/bench/section"
)

func main() {
	home, _ := os.UserCacheDir()
	cache := flag.String("cache", filepath.Join(home, "strata-bench/full/zstd"), "the unsigned binary cache of the image's paths, a `DIR`")
	update := flag.Bool("update", false, "put the tables into docs/pushing.md")
	flag.Parse()
	sections, err := measure(*cache)
	fmt.Print(section.Markdown(sections))
	if err == nil && *update {
		err = section.Update("docs/pushing.md", sections)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

// measure returns what was measured until it ended or an error came.
func measure(cache string) ([]section.Section, error) {
	dir, err := os.MkdirTemp("", "strata-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return nil, err
	}
	strata := filepath.Join(dir, "strata")
	if err := run(exec.Command("go", "build", "-o", strata, "./tool/cmd/strata")); err != nil {
		return nil, err
	}
	host, stop, err := startRegistry(dir)
	if err != nil {
		return nil, err
	}
	defer stop()
	wire := newWire(host)
	defer wire.server.Close()
	layouts, description, err := buildImages(dir, strata, cache)
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir, strata: strata, wire: wire, layouts: layouts}
	for i := range b.daemons {
		d, err := startDocker(filepath.Join(dir, fmt.Sprint("docker", i)))
		if err != nil {
			return nil, err
		}
		defer d.stop()
		b.daemons[i] = d
	}
	image := fmt.Sprintf("%s. Measured on %d cores; the load average was %s when it began (above 1, times mean little).\n", description, runtime.NumCPU(), strings.Fields(string(load))[0])
	sections := []section.Section{{Name: "image", Text: image}}
	loads, err := b.loads()
	if err != nil {
		return sections, err
	}
	sections = append(sections, section.Section{Name: "load", Text: loads})
	pushes, err := b.pushes()
	if err != nil {
		return sections, err
	}
	return append(sections, section.Section{Name: "push", Text: pushes}), nil
}

type bench struct {
	dir, strata string
	wire        *wire
	daemons     [3]*docker // one for each way to load
	layouts     []string   // of the states
}

// tool is a way to get the layout of a state to its place.
type tool struct {
	name string
	// before, which may be nil, is not measured.
	before, command func(layout string) *exec.Cmd
	// counted is what passed since it was called last. No requests: they weren't counted.
	counted func() (bytes, requests int64)
}

// measure runs all tools over all states, the tools side by side, and returns a table. The first tool's time is in seconds, and
// that of the others in how many times it.
func (b *bench) measure(what string, tools []tool) (string, error) {
	rows := make([]string, len(tools))
	for i, t := range tools {
		rows[i] = "| " + t.name + " |"
	}
	var text strings.Builder
	text.WriteString("| " + what + " |")
	for i, s := range states {
		text.WriteString(" " + s.name + " |")
		var first time.Duration
		for j, t := range tools {
			if t.before != nil {
				if err := run(t.before(b.layouts[i])); err != nil {
					return "", err
				}
			}
			cmd := t.command(b.layouts[i])
			if errors.Is(cmd.Err, exec.ErrNotFound) {
				rows[j] += " not installed |"
				continue
			}
			t.counted()
			begun := time.Now()
			if err := run(cmd); err != nil {
				return "", err
			}
			took := time.Since(begun)
			bytes, requests := t.counted()
			rows[j] += " " + megabytes(bytes)
			if requests > 0 {
				rows[j] += fmt.Sprintf(", %d requests", requests)
			}
			if j == 0 {
				first = took
				rows[j] += fmt.Sprintf(", %.2f s |", took.Seconds())
			} else {
				rows[j] += fmt.Sprintf(", %.1f × |", took.Seconds()/first.Seconds())
			}
		}
	}
	text.WriteString("\n|---" + strings.Repeat("|---", len(states)) + "|\n" + strings.Join(rows, "\n") + "\n")
	return text.String(), nil
}

func megabytes(n int64) string {
	if n < 100_000 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// loads are into docker.
func (b *bench) loads() (string, error) {
	archive := filepath.Join(b.dir, "archive.tar")
	counted := func(d *docker) func() (int64, int64) {
		return func() (int64, int64) { return d.bytes.Swap(0), 0 }
	}
	shell := func(script string, args ...string) *exec.Cmd {
		return exec.Command("sh", append([]string{"-euc", script, "sh"}, args...)...)
	}
	return b.measure("load", []tool{
		{"strata load", nil, func(layout string) *exec.Cmd {
			return exec.Command(b.strata, "load", "-q", "--runtime=docker", "--host="+b.daemons[0].wire, "--tag=bench:dev", layout)
		}, counted(b.daemons[0])},
		{"docker load < archive", func(layout string) *exec.Cmd {
			return exec.Command(b.strata, "stream", "--tag=bench:dev", "-o", archive, layout)
		}, func(string) *exec.Cmd {
			return shell(`docker --host="$1" load -q <"$2"`, b.daemons[1].wire, archive)
		}, counted(b.daemons[1])},
		{"strata stream \\| docker load", nil, func(layout string) *exec.Cmd {
			return shell(`"$1" stream --tag=bench:dev "$2" | docker --host="$3" load -q`, b.strata, layout, b.daemons[2].wire)
		}, counted(b.daemons[2])},
	})
}

// pushes are to the registry.
func (b *bench) pushes() (string, error) {
	ref := func(tool string) string { return b.wire.host + "/" + tool + ":dev" }
	counted := func() (int64, int64) { return b.wire.bytes.Swap(0), b.wire.requests.Swap(0) }
	return b.measure("push", []tool{
		{"strata push", nil, func(layout string) *exec.Cmd {
			return exec.Command(b.strata, "push", "-q", layout, ref("strata"))
		}, counted},
		{"crane push", nil, func(layout string) *exec.Cmd {
			return exec.Command("crane", "push", "--insecure", layout, ref("crane"))
		}, counted},
		{"skopeo copy", nil, func(layout string) *exec.Cmd {
			return exec.Command("skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:"+layout, "docker://"+ref("skopeo"))
		}, counted},
		{"oras copy", nil, func(layout string) *exec.Cmd {
			return exec.Command("oras", "copy", "--no-tty", "--from-oci-layout", layout+":dev", "--to-plain-http", ref("oras"))
		}, counted},
		{"docker push", func(layout string) *exec.Cmd {
			return exec.Command(b.strata, "load", "-q", "--runtime=docker", "--host="+b.daemons[0].host, "--tag="+ref("docker"), layout)
		}, func(string) *exec.Cmd {
			return exec.Command("docker", "--host="+b.daemons[0].host, "push", "-q", ref("docker"))
		}, counted},
	})
}
