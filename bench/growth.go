package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/rules-strata/rules_strata/tool/nar"
	"github.com/rules-strata/rules_strata/tool/store"
)

// synthetic is a NAR made for a measurement.
type synthetic struct {
	file        string
	compression string
	hash        store.Hash
	size        int64
}

// group is the layer tool's arguments for the NAR as the i-th store path.
func (s *synthetic) group(i int) string {
	return fmt.Sprintf("--store-path=/nix/store/%032d-synthetic\n--nar-hash=%s\n--nar-size=%d\n--nar-compression=%s\n--nar=%s\n",
		i, s.hash, s.size, s.compression, s.file)
}

// argsFile writes arguments into a file, and returns "@" and its name.
func (b *bench) argsFile(name string, groups ...string) (string, error) {
	file := filepath.Join(b.tmp, name+".args")
	return "@" + file, os.WriteFile(file, []byte(strings.Join(groups, "")), 0o644)
}

// synthetic writes a NAR.
func (b *bench) synthetic(name string, write func(*nar.Writer) error) (*synthetic, error) {
	s := &synthetic{file: filepath.Join(b.tmp, name+".nar"), compression: "none"}
	f, err := os.Create(s.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	w := nar.NewWriter(io.MultiWriter(f, h))
	if err := write(w); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	h.Sum(s.hash[:0])
	if s.size, err = f.Seek(0, io.SeekCurrent); err != nil {
		return nil, err
	}
	return s, f.Close()
}

// mixture gives the corpus' bytes in pieces from anywhere in it: any stretch of
// it compresses as well as any other, and no piece comes again soon.
type mixture struct {
	c      *corpus
	random *rand.Rand
	piece  [64 << 10]byte
	left   []byte
}

func newMixture(c *corpus) *mixture { return &mixture{c: c, random: rand.New(rand.NewPCG(1, 2))} }

// Read implements [io.Reader]; there is no end.
func (m *mixture) Read(p []byte) (int, error) {
	if len(m.left) == 0 {
		at := m.random.Int64N(m.c.narSize)
		i := 0
		for ; at >= m.c.paths[i].infos["none"].NarSize; i++ {
			at -= m.c.paths[i].infos["none"].NarSize
		}
		f, err := os.Open(m.c.narFile(m.c.paths[i], "none"))
		if err != nil {
			return 0, err
		}
		n, err := f.ReadAt(m.piece[:], at)
		f.Close()
		if n == 0 {
			return 0, err
		}
		m.left = m.piece[:n]
	}
	n := copy(p, m.left)
	m.left = m.left[n:]
	return n, nil
}

// point is one measurement of a growing input.
type point struct {
	x     float64
	usage usage
}

// curve is how a layer's cost grows with one thing.
type curve struct {
	what   string // that grows, and its unit
	x      string // the unit of points' x
	points map[string][]point
}

// growthCompressions are those that growth is measured with.
var growthCompressions = []string{"none", "gzip", "zstd"}

// growth measures layers of one ever larger file, of ever more small files, and of ever more NARs.
func (b *bench) growth(ctx context.Context) error {
	megabytes := []int{100, 200, 400, 800}
	if b.long {
		megabytes = append(megabytes, 2000, 8000)
	}
	sizes := curve{what: "one file", x: "MB", points: map[string][]point{}}
	for _, mb := range megabytes {
		size := int64(mb) * 1e6
		input, err := b.synthetic("file", func(w *nar.Writer) error {
			if err := w.WriteEntry(&nar.Entry{Kind: nar.Regular, Size: size}); err != nil {
				return err
			}
			_, err := io.Copy(w, io.LimitReader(newMixture(b.corpus), size))
			return err
		})
		if err != nil {
			return err
		}
		if err := b.measurePoint(ctx, &sizes, float64(mb), growthCompressions, input.group(0)); err != nil {
			return err
		}
		if err := os.Remove(input.file); err != nil {
			return err
		}
	}

	files := curve{what: "files of 1 kB", x: "files", points: map[string][]point{}}
	for _, n := range []int{1_000, 10_000, 50_000, 100_000, 200_000} {
		input, err := b.synthetic("files", func(w *nar.Writer) error { return manyFiles(w, n, newMixture(b.corpus)) })
		if err != nil {
			return err
		}
		if err := b.measurePoint(ctx, &files, float64(n), growthCompressions, input.group(0)); err != nil {
			return err
		}
	}

	nars := curve{what: "NARs of 1 MB, .nar.xz", x: "NARs", points: map[string][]point{}}
	input, err := b.synthetic("one", func(w *nar.Writer) error {
		if err := w.WriteEntry(&nar.Entry{Kind: nar.Regular, Size: 1e6}); err != nil {
			return err
		}
		_, err := io.Copy(w, io.LimitReader(newMixture(b.corpus), 1e6))
		return err
	})
	if err != nil {
		return err
	}
	if err := compress(ctx, compressions["xz"], input.file, input.file+".xz"); err != nil {
		return err
	}
	input.file, input.compression = input.file+".xz", "xz"
	for _, n := range []int{1, 10, 100, 400} {
		var groups []string
		for i := range n {
			groups = append(groups, input.group(i))
		}
		if err := b.measurePoint(ctx, &nars, float64(n), []string{"none"}, groups...); err != nil {
			return err
		}
	}
	b.report.growth([]curve{sizes, files, nars})
	return nil
}

// manyFiles writes a tree of n files of 1 kB, 1000 a directory.
func manyFiles(w *nar.Writer, n int, contents io.Reader) error {
	const perDir, size = 1000, 1000
	if err := w.WriteEntry(&nar.Entry{Kind: nar.Directory}); err != nil {
		return err
	}
	for i := range n {
		dir := fmt.Sprintf("d%04d", i/perDir)
		if i%perDir == 0 {
			if err := w.WriteEntry(&nar.Entry{Path: []byte(dir), Kind: nar.Directory}); err != nil {
				return err
			}
		}
		if err := w.WriteEntry(&nar.Entry{Path: fmt.Appendf(nil, "%s/f%04d", dir, i%perDir), Kind: nar.Regular, Size: size}); err != nil {
			return err
		}
		if _, err := io.CopyN(w, contents, size); err != nil {
			return err
		}
	}
	return nil
}

// measurePoint makes a layer of the NARs with each compression; large ones once, others as often as there are rounds.
func (b *bench) measurePoint(ctx context.Context, c *curve, x float64, with []string, groups ...string) error {
	args, err := b.argsFile("growth", groups...)
	if err != nil {
		return err
	}
	rounds := b.rounds
	if c.x == "MB" && x > 800 {
		rounds = 1
	}
	var cases []benchCase
	for _, compression := range with {
		cases = append(cases, benchCase{group: fmt.Sprintf("%.0f %s", x, c.x), name: compression, run: func(ctx context.Context, dir string, u *usage) error {
			return u.pipe(ctx, "", b.layerStage(dir, compression, args))
		}})
	}
	results, err := b.inTurns(ctx, cases, rounds)
	if err != nil {
		return err
	}
	for i, compression := range with {
		c.points[compression] = append(c.points[compression], point{x: x, usage: results[cases[i].String()]})
	}
	return nil
}

// line is y = a + b·x, fitted to points by least squares.
type line struct {
	a, b float64
	r2   float64 // share of y's variance that the line explains
}

func fit(xs, ys []float64) line {
	n := float64(len(xs))
	var sx, sy, sxx, sxy, syy float64
	for i, x := range xs {
		sx, sy = sx+x, sy+ys[i]
		sxx, sxy, syy = sxx+x*x, sxy+x*ys[i], syy+ys[i]*ys[i]
	}
	var l line
	l.b = (n*sxy - sx*sy) / (n*sxx - sx*sx)
	l.a = (sy - l.b*sx) / n
	cov := n*sxy - sx*sy
	l.r2 = cov * cov / ((n*sxx - sx*sx) * (n*syy - sy*sy))
	return l
}
