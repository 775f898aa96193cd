package main

import (
	"fmt"

	"github.com/rules-strata/rules_strata/tool/action"
	"github.com/rules-strata/rules_strata/tool/image"
)

// settingsFiles are the files that an image's settings come out of.
type settingsFiles struct {
	settings, configJSON               string
	labelFiles, annotationFiles, stamp []string
}

func (f *settingsFiles) register(known action.Flags) {
	known["--settings"] = action.Text(&f.settings)
	known["--config-json"] = action.Text(&f.configJSON)
	for name, to := range map[string]*[]string{
		"--label-file": &f.labelFiles, "--annotation-file": &f.annotationFiles, "--stamp-file": &f.stamp,
	} {
		known[name] = action.List(to)
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
		b, err := image.ReadMetadata(f.configJSON)
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
