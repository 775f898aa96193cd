package main

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/rules-strata/rules_strata/tool/digestfile"
	"github.com/rules-strata/rules_strata/tool/image"
)

// manifest is the StrataImage action: settings and digest files in, config,
// manifest, descriptor and digest out.
func manifest(args []string) error {
	const command = "manifest"
	var settings, configOut, manifestOut, descriptorOut, digestOut string
	var layers []string
	if err := flags(command, args, map[string]func(string) error{
		"--settings":          once(&settings),
		"--layer":             func(v string) error { layers = append(layers, v); return nil },
		"--config-output":     once(&configOut),
		"--manifest-output":   once(&manifestOut),
		"--descriptor-output": once(&descriptorOut),
		"--digest-output":     once(&digestOut),
	}); err != nil {
		return err
	}
	if err := required(command, "--settings", settings, "--config-output", configOut,
		"--manifest-output", manifestOut, "--descriptor-output", descriptorOut, "--digest-output", digestOut); err != nil {
		return err
	}
	s, err := image.ReadSettings(settings)
	if err != nil {
		return err
	}
	files := make([]*digestfile.File, len(layers))
	for i, path := range layers {
		if files[i], err = digestfile.Read(path); err != nil {
			return err
		}
	}
	img, err := image.Build(*s, files)
	if err != nil {
		return err
	}
	descriptor, err := json.Marshal(img.Descriptor)
	if err != nil {
		return err
	}
	var out outputs
	defer out.discard()
	for _, f := range []struct {
		path string
		b    []byte
	}{
		{configOut, img.Config},
		{manifestOut, img.Manifest},
		{descriptorOut, descriptor},
		{digestOut, []byte(img.Descriptor.Digest.String() + "\n")},
	} {
		w, err := out.create(f.path)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, bytes.NewReader(f.b)); err != nil {
			return err
		}
	}
	return out.commit()
}
