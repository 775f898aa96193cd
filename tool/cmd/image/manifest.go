package main

import (
	"context"
	"encoding/json"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/atomicfile"
	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
)

// manifest is the StrataImage action: settings and digest files in, config,
// manifest, descriptor and digest out.
func manifest(ctx context.Context, args []string) error {
	var configOut, manifestOut, descriptorOut, digestOut string
	var layers []string
	var from settingsFiles
	var below baseFlags
	known := action.Flags{
		"--layer":             action.List(&layers),
		"--config-output":     action.Text(&configOut),
		"--manifest-output":   action.Text(&manifestOut),
		"--descriptor-output": action.Text(&descriptorOut),
		"--digest-output":     action.Text(&digestOut),
	}
	from.register(known)
	below.register(known)
	if err := known.Parse(args); err != nil {
		return err
	}
	if err := below.check(); err != nil {
		return err
	}
	if err := action.Require("--settings", from.settings, "--config-output", configOut,
		"--manifest-output", manifestOut, "--descriptor-output", descriptorOut, "--digest-output", digestOut); err != nil {
		return err
	}
	if err := action.Distinct("--config-output", configOut, "--manifest-output", manifestOut,
		"--descriptor-output", descriptorOut, "--digest-output", digestOut); err != nil {
		return err
	}
	s, err := from.read()
	if err != nil {
		return err
	}
	base, err := below.read(ctx, s)
	if err != nil {
		return err
	}
	files := make([]*digestfile.File, len(layers))
	for i, path := range layers {
		if files[i], err = digestfile.Read(path); err != nil {
			return err
		}
	}
	img, err := image.BuildOn(base, *s, files)
	if err != nil {
		return err
	}
	descriptor, err := json.Marshal(img.Descriptor)
	if err != nil {
		return err
	}
	return writeAll(
		output{configOut, img.Config},
		output{manifestOut, img.Manifest},
		output{descriptorOut, descriptor},
		output{digestOut, []byte(img.Descriptor.Digest.String() + "\n")},
	)
}

// output is a small file to write.
type output struct {
	path  string
	bytes []byte
}

// writeAll writes all of the files or none.
func writeAll(files ...output) error {
	var out []*atomicfile.File
	defer func() {
		for _, f := range out {
			f.Abort()
		}
	}()
	for _, f := range files {
		w, err := atomicfile.Create(f.path)
		if err != nil {
			return err
		}
		out = append(out, w)
		if _, err := w.Write(f.bytes); err != nil {
			return err
		}
	}
	return atomicfile.CommitAll(out...)
}
