package main

import (
	"fmt"

	"github.com/rules-strata/rules_strata/tool/image"
)

// settingsFiles are the files that an image's settings come out of.
type settingsFiles struct {
	settings, configJSON               string
	labelFiles, annotationFiles, stamp []string
}

func (f *settingsFiles) register(known map[string]func(string) error) {
	known["--settings"] = once(&f.settings)
	known["--config-json"] = once(&f.configJSON)
	for name, to := range map[string]*[]string{
		"--label-file": &f.labelFiles, "--annotation-file": &f.annotationFiles, "--stamp-file": &f.stamp,
	} {
		known[name] = func(v string) error { *to = append(*to, v); return nil }
	}
}

func (f *settingsFiles) read() (*image.Settings, error) {
	s, err := image.ReadSettings(f.settings)
	if err != nil {
		return nil, err
	}
	if s.Status, err = image.ReadStatus(f.stamp...); err != nil {
		return nil, err
	}
	if f.configJSON != "" {
		if s.ConfigJSON != "" {
			return nil, fmt.Errorf("--config-json=%s: the settings have a config already", f.configJSON)
		}
		b, err := readMetadata(f.configJSON)
		if err != nil {
			return nil, err
		}
		s.ConfigJSON = string(b)
		if err := image.ParseConfigJSON(b); err != nil {
			return nil, fmt.Errorf("%s: %w", f.configJSON, err)
		}
	}
	return s, s.AddFiles(f.labelFiles, f.annotationFiles)
}
