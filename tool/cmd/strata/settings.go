package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

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

	configJSON      string
	envPrepend      []string
	labelFiles      []string
	annotations     []string
	annotationFiles []string
	health          []string
	healthOptions   [len(healthOptions)]string
	shell           []string
	onBuild         []string
	author          string
	comment         string
	stampFiles      []string
	stampDefaults   []string
}

// healthOptions are those of a healthcheck; the flags are --health-NAME.
var healthOptions = [...]string{"interval", "timeout", "start-period", "start-interval", "retries"}

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
	fl.StringVar(&f.created, "created", "", "the image's `TIME` of creation by RFC 3339, in seconds since 1970, or now (default "+image.DefaultCreated+")")
	fl.StringVar(&f.configJSON, "config-json", "", "a `FILE` with a config as docker and OCI write it (an object with Cmd, Env, …); all other flags go before it")
	fl.StringArrayVar(&f.envPrepend, "env-prepend", nil, "`NAME=VALUE` to put in front of a variable that is a list joined by colons, such as PATH, the base's too; repeatable")
	fl.StringArrayVar(&f.labelFiles, "label-file", nil, "a `FILE` with lines NAME=VALUE of labels; --label goes before it; repeatable")
	fl.StringArrayVar(&f.annotations, "annotation", nil, "an annotation `NAME=VALUE` of the manifest; repeatable")
	fl.StringArrayVar(&f.annotationFiles, "annotation-file", nil, "a `FILE` with lines NAME=VALUE of annotations; repeatable")
	fl.StringArrayVar(&f.health, "healthcheck", nil, "a `WORD` of the healthcheck, the first CMD, CMD-SHELL or NONE; repeatable, or once as a JSON list")
	for i, name := range healthOptions {
		what := "the `TIME` of the healthcheck's " + name + ", such as 30s"
		if name == "retries" {
			what = "the `NUMBER` of times that the healthcheck must fail"
		}
		fl.StringVar(&f.healthOptions[i], "health-"+name, "", what)
	}
	fl.StringArrayVar(&f.shell, "shell", nil, "a `WORD` of the shell of Dockerfiles that build on the image; repeatable, or once as a JSON list")
	fl.StringArrayVar(&f.onBuild, "on-build", nil, "an `INSTRUCTION` for Dockerfiles that build on the image; repeatable")
	fl.StringVar(&f.author, "author", "", "the image's `AUTHOR`")
	fl.StringVar(&f.comment, "comment", "", "a `LINE` about the image")
	fl.StringArrayVar(&f.stampFiles, "stamp-file", nil, "a `FILE` with lines KEY VALUE, as Bazel's workspace status: {KEY} in --label, --annotation, --author, --comment, --created and --tag is the value; repeatable")
	fl.StringArrayVar(&f.stampDefaults, "stamp-default", nil, "a value `KEY=VALUE` for a {KEY} that no --stamp-file has; repeatable")
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
	if s.Status, err = image.ReadStatus(f.stampFiles...); err != nil {
		return nil, err
	}
	if err := f.readFiles(s); err != nil {
		return nil, err
	}
	if err := s.Check(); err != nil {
		return nil, &usageError{err}
	}
	return s, nil
}

// readFiles adds what stands in files.
func (f *settingsFlags) readFiles(s *image.Settings) error {
	if f.configJSON != "" {
		in, err := os.Open(f.configJSON)
		if err != nil {
			return err
		}
		defer in.Close()
		b, err := io.ReadAll(io.LimitReader(in, image.MaxSettingsSize+1))
		if err != nil {
			return err
		}
		if err := image.ParseConfigJSON(b); err != nil {
			return fmt.Errorf("--config-json: %s: %w", f.configJSON, err)
		}
		s.ConfigJSON = string(b)
	}
	return s.AddFiles(f.labelFiles, f.annotationFiles)
}

// stamp has the values of {KEY}; nil if nothing is stamped.
func (f *settingsFlags) stamp() (*image.Stamp, error) {
	if len(f.stampFiles) == 0 && len(f.stampDefaults) == 0 {
		return nil, nil
	}
	status, err := image.ReadStatus(f.stampFiles...)
	if err != nil {
		return nil, err
	}
	defaults := map[string]string{}
	return &image.Stamp{Status: status, Defaults: defaults}, addPairs("--stamp-default", &defaults, f.stampDefaults)
}

// addPairs adds NAME=VALUE each.
func addPairs(flag string, to *map[string]string, pairs []string) error {
	m := maps.Clone(*to)
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return fmt.Errorf("%s: want NAME=VALUE, found %q", flag, p)
		}
		if m == nil {
			m = map[string]string{}
		}
		m[name] = value
	}
	*to = m
	return nil
}

func (f *settingsFlags) override(fl *pflag.FlagSet, s *image.Settings) (err error) {
	for _, l := range []struct {
		name   string
		values []string
		to     *[]string
	}{
		{"entrypoint", f.entrypoint, &s.Entrypoint},
		{"cmd", f.cmd, &s.Cmd},
		{"healthcheck", f.health, &s.Healthcheck},
		{"shell", f.shell, &s.Shell},
	} {
		if !fl.Changed(l.name) {
			continue
		}
		if *l.to, err = arguments(l.values); err != nil {
			return fmt.Errorf("--%s: %w", l.name, err)
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
	var options []string
	for i, name := range healthOptions {
		if fl.Changed("health-" + name) {
			options = append(options, name+"="+f.healthOptions[i])
		}
	}
	for _, m := range []struct {
		flag  string
		pairs []string
		to    *map[string]string
	}{
		{"--label", f.labels, &s.Labels},
		{"--annotation", f.annotations, &s.Annotations},
		{"--health", options, &s.HealthcheckOptions},
		{"--stamp-default", f.stampDefaults, &s.StampDefaults},
	} {
		if err := addPairs(m.flag, m.to, m.pairs); err != nil {
			return err
		}
	}
	s.Stamp = s.Stamp || len(f.stampFiles) > 0 || len(f.stampDefaults) > 0
	s.EnvPrepend = append(s.EnvPrepend, f.envPrepend...)
	s.OnBuild = append(s.OnBuild, f.onBuild...)
	if f.created == "now" {
		f.created = time.Now().UTC().Format(time.RFC3339)
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
		{"author", f.author, &s.Author},
		{"comment", f.comment, &s.Comment},
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
	list := []string{}
	if err := json.Unmarshal([]byte(values[0]), &list); err != nil {
		return nil, fmt.Errorf("%q: want a JSON list of strings: %w", values[0], err)
	}
	return list, nil
}
