package validate

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Report is what was found.
type Report struct {
	// Faults are all that is wrong, in the order in which it was found; none
	// means that the image is what it says. Of one file, [MaxFaults] at most
	// are told one by one.
	Faults []Fault
	// Images are the images found, in the order of the index, each once.
	Images []ImageFacts
	// Blobs and Bytes are how many blobs were read, and their size together.
	Blobs int
	Bytes int64
}

// MaxFaults is how many faults of one file are told one by one.
const MaxFaults = 100

// Fault is one thing that is wrong.
type Fault struct {
	// Where is the file, such as "index.json" or "blobs/sha256/<hex>".
	Where string
	// What is wrong there, with what was wanted and what was found.
	What string
}

// String is "<where>: <what>".
func (f Fault) String() string { return f.Where + ": " + f.What }

// ImageFacts is what one image of the layout is.
type ImageFacts struct {
	// Digest is the manifest's.
	Digest digest.Digest
	// Names are the whole references that index.json gives it, and Refs its ref names.
	Names, Refs []string
	// Platform is the config's.
	Platform ocispec.Platform
	// Layers are the layers' facts, lowest first.
	Layers []LayerFacts
}

// LayerFacts is what was computed from one layer's bytes.
type LayerFacts struct {
	// Digest is of the blob as stored, DiffID of the tar; empty when they could not be read.
	Digest, DiffID digest.Digest
	// Size is the blob's and UncompressedSize the tar's, in bytes.
	Size, UncompressedSize int64
	// Entries is the number of entries in the tar.
	Entries int64
	// StorePaths are the store paths that the layer has entries of, sorted.
	StorePaths []string
}

// Err is nil if there are no faults, and otherwise an error that lists them all, one a line.
func (r *Report) Err() error {
	if len(r.Faults) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults:", len(r.Faults))
	for _, f := range r.Faults {
		b.WriteString("\n\t" + f.String())
	}
	return fmt.Errorf("%s", b.String())
}

// faults collects what is wrong, so much and no more of each file.
type faults struct {
	list  []Fault
	count map[string]int
}

func (f *faults) add(where, format string, a ...any) {
	if f.count == nil {
		f.count = map[string]int{}
	}
	f.count[where]++
	switch n := f.count[where]; {
	case n <= MaxFaults:
		f.list = append(f.list, Fault{where, fmt.Sprintf(format, a...)})
	case n == MaxFaults+1:
		f.list = append(f.list, Fault{where, "and more of the kind"})
	}
}
