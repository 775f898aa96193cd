// Package replay runs a planner over a recorded history of updates and says how
// many bytes it would have sent: for tests and benchmarks of tool/plan.
//
// A history is a file of the form "layering-trace/1": one JSON object with the
// names of images, paths as [id, name, size, indices of references, own version's hash],
// and steps, each with the indices of every image's roots. An image's content at a
// step is all that its roots reach. testdata/layering has some, and says where they come from.
package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/rules-strata/rules_strata/tool/plan"
	"github.com/rules-strata/rules_strata/tool/store"
)

// format is what a trace says that it is.
const format = "layering-trace/1"

// Trace is a history of updates.
type Trace struct {
	Name string
	// Popularity is how many others depend on a package, by its name.
	Popularity map[string]int64
	Steps      []Step
}

// Step is the images at one time.
type Step struct {
	Label  string
	Images []plan.Image
}

// Options say how a trace is read.
type Options struct {
	// Flat drops the references out of a path's identity: a path changes only with its own version.
	Flat bool
	// Image, if not empty, leaves only the image of that name.
	Image string
}

type traceJSON struct {
	Format     string              `json:"format"`
	Name       string              `json:"name"`
	Images     []string            `json:"images"`
	Popularity map[string]int64    `json:"popularity"`
	Paths      [][]json.RawMessage `json:"paths"`
	Steps      []struct {
		Label  string           `json:"label"`
		Images map[string][]int `json:"images"`
	} `json:"steps"`
}

// Read reads a trace; a file whose name ends in .zst is decompressed.
func Read(file string, o Options) (*Trace, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(file, ".zst") {
		z, err := zstd.NewReader(f)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	}
	var doc traceJSON
	if err := json.NewDecoder(r).Decode(&doc); err != nil {
		return nil, fmt.Errorf("trace %s: %w", file, err)
	}
	if doc.Format != format {
		return nil, fmt.Errorf("trace %s: format %q: want %s", file, doc.Format, format)
	}
	t, err := doc.trace(o)
	if err != nil {
		return nil, fmt.Errorf("trace %s: %w", file, err)
	}
	return t, nil
}

// tracePath is a path of the file.
type tracePath struct {
	path plan.Path
	refs []int
}

func (d *traceJSON) trace(o Options) (*Trace, error) {
	paths := make([]tracePath, len(d.Paths))
	for i, fields := range d.Paths {
		if err := paths[i].read(fields, o.Flat, paths[:i]); err != nil {
			return nil, fmt.Errorf("path %d: %w", i, err)
		}
	}
	if o.Image != "" && !slices.Contains(d.Images, o.Image) {
		return nil, fmt.Errorf("no image %q; there are %s", o.Image, strings.Join(d.Images, ", "))
	}
	t := &Trace{Name: d.Name, Popularity: d.Popularity}
	for _, s := range d.Steps {
		step := Step{Label: s.Label}
		for _, name := range d.Images {
			if o.Image != "" && name != o.Image {
				continue
			}
			image := plan.Image{Root: name}
			seen := map[int]bool{}
			has := map[store.Path]bool{}
			todo := slices.Clone(s.Images[name])
			for _, r := range todo {
				if r < 0 || r >= len(paths) {
					return nil, fmt.Errorf("step %q: there is no path %d", s.Label, r)
				}
				image.Roots = append(image.Roots, paths[r].path.Path)
			}
			for len(todo) > 0 {
				x := todo[len(todo)-1]
				todo = todo[:len(todo)-1]
				if seen[x] {
					continue
				}
				seen[x] = true
				todo = append(todo, paths[x].refs...)
				if p := paths[x].path; !has[p.Path] {
					has[p.Path] = true
					image.Closure = append(image.Closure, p)
				}
			}
			step.Images = append(step.Images, image)
		}
		t.Steps = append(t.Steps, step)
	}
	return t, nil
}

// read reads a path, whose references are among those before it.
func (p *tracePath) read(fields []json.RawMessage, flat bool, before []tracePath) error {
	var id, name, own string
	for i, to := range []any{&id, &name, &p.path.NarSize, &p.refs, &own} {
		if i >= len(fields) {
			return fmt.Errorf("%d fields: want 5", len(fields))
		}
		if err := json.Unmarshal(fields[i], to); err != nil {
			return err
		}
	}
	hash, rest, _ := strings.Cut(id, "-")
	if flat {
		hash = own
	}
	p.path.Path = store.Path("/nix/store/" + hash + "-" + rest)
	p.path.Package, p.path.Version = name, strings.TrimPrefix(strings.TrimPrefix(rest, name), "-")
	for _, r := range p.refs {
		if r < 0 || r >= len(before) {
			return fmt.Errorf("reference %d: want one of the paths before it", r)
		}
		p.path.References = append(p.path.References, before[r].path.Path)
	}
	return nil
}
