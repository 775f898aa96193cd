package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/rules-strata/rules_strata/tool/image"
)

// settingsFlags are the flags that say what an image's config holds.
type settingsFlags struct {
	file       string
	entrypoint []string
	cmd        []string
	env        []string
	labels     []string
	user       string
	workdir    string
	ports      []string
	volumes    []string
	stopSignal string
	created    string
}

func (f *settingsFlags) register(fl *pflag.FlagSet) {
	fl.StringVar(&f.file, "settings", "", "a JSON `FILE` of settings, as Bazel writes it; the flags below go before it")
	fl.StringArrayVar(&f.entrypoint, "entrypoint", nil, "an `ARG` of the entrypoint; repeatable, or once as a JSON list")
	fl.StringArrayVar(&f.cmd, "cmd", nil, "an `ARG` of the command; repeatable, or once as a JSON list")
	fl.StringArrayVar(&f.env, "env", nil, "an environment variable `NAME=VALUE`; repeatable")
	fl.StringArrayVar(&f.labels, "label", nil, "a label `NAME=VALUE`; repeatable")
	fl.StringVar(&f.user, "user", "", "the `USER[:GROUP]` that the program runs as")
	fl.StringVar(&f.workdir, "workdir", "", "the `DIR` that the program starts in")
	fl.StringArrayVar(&f.ports, "port", nil, "a `PORT[/PROTOCOL]` that the program listens on; repeatable")
	fl.StringArrayVar(&f.volumes, "volume", nil, "a `DIR` that is a volume; repeatable")
	fl.StringVar(&f.stopSignal, "stop-signal", "", "the `SIGNAL` that stops the program")
	fl.StringVar(&f.created, "created", "", "the image's `TIME` of creation by RFC 3339 (default "+image.DefaultCreated+")")
}

// read returns the settings of the file and the flags for an image of system.
func (f *settingsFlags) read(fl *pflag.FlagSet, system string) (*image.Settings, error) {
	s := new(image.Settings)
	platform, err := image.PlatformOf(system)
	if err != nil {
		return nil, err
	}
	if f.file != "" {
		if s, err = image.ReadSettings(f.file); err != nil {
			return nil, err
		}
		of := s.System
		if of == "" {
			of = strings.TrimSuffix(s.Architecture+"/"+s.Variant, "/")
			if s.Architecture == platform.Architecture && s.Variant == platform.Variant {
				of = system
			}
		}
		if of != system {
			return nil, fmt.Errorf("settings %s: they are for %s, but the root's store path is for %s", f.file, of, system)
		}
	}
	s.System, s.Architecture, s.OS, s.Variant = system, "", "", ""
	if err := f.override(fl, s); err != nil {
		return nil, &usageError{err}
	}
	if err := s.Check(); err != nil {
		return nil, &usageError{err}
	}
	return s, nil
}

func (f *settingsFlags) override(fl *pflag.FlagSet, s *image.Settings) (err error) {
	if fl.Changed("entrypoint") {
		if s.Entrypoint, err = arguments(f.entrypoint); err != nil {
			return fmt.Errorf("--entrypoint: %w", err)
		}
	}
	if fl.Changed("cmd") {
		if s.Cmd, err = arguments(f.cmd); err != nil {
			return fmt.Errorf("--cmd: %w", err)
		}
	}
	given := map[string]bool{}
	for _, e := range f.env {
		name, _, ok := strings.Cut(e, "=")
		if !ok || name == "" || given[name] {
			return fmt.Errorf("--env: want NAME=VALUE, each name once, found %q", e)
		}
		given[name] = true
		i := slices.IndexFunc(s.Env, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		if i >= 0 {
			s.Env[i] = e
		} else {
			s.Env = append(s.Env, e)
		}
	}
	s.Labels = maps.Clone(s.Labels)
	for _, l := range f.labels {
		name, value, ok := strings.Cut(l, "=")
		if !ok || name == "" {
			return fmt.Errorf("--label: want NAME=VALUE, found %q", l)
		}
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		s.Labels[name] = value
	}
	s.ExposedPorts = appendNew(s.ExposedPorts, f.ports)
	s.Volumes = appendNew(s.Volumes, f.volumes)
	for _, o := range []struct {
		name, value string
		to          *string
	}{
		{"user", f.user, &s.User},
		{"workdir", f.workdir, &s.WorkingDir},
		{"stop-signal", f.stopSignal, &s.StopSignal},
		{"created", f.created, &s.Created},
	} {
		if fl.Changed(o.name) {
			*o.to = o.value
		}
	}
	return nil
}

func appendNew(all, more []string) []string {
	for _, s := range more {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// arguments returns the values of a flag that was given once for each
// argument, or once with all of them as a JSON list.
func arguments(values []string) ([]string, error) {
	if len(values) != 1 || !strings.HasPrefix(values[0], "[") {
		return values, nil
	}
	var list []string
	if err := json.Unmarshal([]byte(values[0]), &list); err != nil {
		return nil, fmt.Errorf("%q: want a JSON list of strings: %w", values[0], err)
	}
	return list, nil
}
