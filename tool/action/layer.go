package action

import (
	"fmt"
	"io"

	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/digestfile"
)

// LayerOutputs are the files that an action which makes a layer writes.
type LayerOutputs struct {
	Blob       string // the flag --output
	DigestFile string // --digest-file
	Mtree      string // --mtree, a listing; "": none
}

// Register adds their flags.
func (o *LayerOutputs) Register(f Flags) {
	f["--output"] = Text(&o.Blob)
	f["--digest-file"] = Text(&o.DigestFile)
	f["--mtree"] = Text(&o.Mtree)
}

// Check wants blob and digest file, and no file twice.
func (o LayerOutputs) Check() error {
	if err := Require("--output", o.Blob, "--digest-file", o.DigestFile); err != nil {
		return err
	}
	return Distinct("--output", o.Blob, "--digest-file", o.DigestFile, "--mtree", o.Mtree)
}

// Write has the layer made, whose blob and listing (nil if none is wanted) go to the two writers, and writes its digest file. All
// of the files appear, or none; an error about one names its flag.
func (o LayerOutputs) Write(layer func(blob, mtree io.Writer) (*digestfile.File, error)) error {
	var outputs []*atomicfile.File
	defer func() {
		for _, f := range outputs {
			f.Abort()
		}
	}()
	create := func(flag, path string) (*atomicfile.File, error) {
		f, err := atomicfile.Create(path)
		if err != nil {
			return nil, fmt.Errorf("%s=%s: %w", flag, path, err)
		}
		outputs = append(outputs, f)
		return f, nil
	}
	blob, err := create("--output", o.Blob)
	if err != nil {
		return err
	}
	digests, err := create("--digest-file", o.DigestFile)
	if err != nil {
		return err
	}
	var mtree io.Writer
	if o.Mtree != "" {
		if mtree, err = create("--mtree", o.Mtree); err != nil {
			return err
		}
	}
	known, err := layer(blob, mtree)
	if err != nil {
		return err
	}
	text, err := known.Marshal()
	if err != nil {
		return err
	}
	if _, err := digests.Write(text); err != nil {
		return err
	}
	return atomicfile.CommitAll(outputs...)
}
