package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// DefaultCreated is an image's time of creation when its settings name none:
// one second into 1970, which is also the mtime of all files in a store.
const DefaultCreated = "1970-01-01T00:00:01Z"

// MaxSettingsSize is the greatest size of a settings file in bytes. Clients
// refuse configs of more than 4 MiB.
const MaxSettingsSize = 4 << 20

// Settings are what an image says besides its layers. Their JSON form is one
// object with the fields below, by the names of the rule's attributes; each may be left out save the platform.
type Settings struct {
	// System is the platform by the name that Nix and Guix give it, such as
	// "x86_64-linux", in place of Architecture, OS and Variant.
	System string `json:"system,omitempty"`
	// Architecture is the CPU by Go's name, such as "amd64".
	Architecture string `json:"architecture,omitempty"`
	// OS is "linux", which is also the default.
	OS string `json:"os,omitempty"`
	// Variant is the CPU's variant, such as "v7" of "arm"; mostly empty.
	Variant string `json:"variant,omitempty"`

	// ConfigJSON is a config as docker and OCI write it ([ParseConfigJSON]); what the
	// other settings say goes over it, and it goes over the base's.
	ConfigJSON string `json:"config_json,omitempty"`
	// Entrypoint is the program and its first arguments. It clears the base's Cmd;
	// empty but not nil, it clears the base's entrypoint.
	Entrypoint []string `json:"entrypoint,omitzero"`
	// Cmd is the arguments that `docker run` replaces; the program too, without Entrypoint.
	// Empty but not nil, it clears the base's.
	Cmd []string `json:"cmd,omitzero"`
	// Env is the environment, each "NAME=value", in this order; no name twice. It is added to the base's.
	Env []string `json:"env,omitempty"`
	// EnvPrepend is put in front of variables that are lists joined by colons, the base's too:
	// "PATH=/nix/store/…/bin".
	EnvPrepend []string `json:"env_prepend,omitempty"`
	// Labels are the config's labels.
	Labels map[string]string `json:"labels,omitempty"`
	// User is a name or a number, alone or with a group: "nobody", "1000:100".
	User string `json:"user,omitempty"`
	// WorkingDir is the absolute path in which the program starts.
	WorkingDir string `json:"workdir,omitempty"`
	// ExposedPorts are "PORT" or "PORT/PROTOCOL"; the config always says the protocol.
	ExposedPorts []string `json:"ports,omitempty"`
	// Volumes are absolute paths.
	Volumes []string `json:"volumes,omitempty"`
	// StopSignal is a signal's name or number: "SIGTERM", "SIGRTMIN+3", "15".
	StopSignal string `json:"stop_signal,omitempty"`
	// Healthcheck is how to ask the program whether it is well: "CMD" and a program with its
	// arguments, "CMD-SHELL" and a line of shell, or "NONE".
	Healthcheck []string `json:"healthcheck,omitempty"`
	// HealthcheckOptions are those of a Dockerfile's HEALTHCHECK: interval, timeout,
	// start-period and start-interval, each a time such as "30s", and retries, a number.
	HealthcheckOptions map[string]string `json:"healthcheck_options,omitempty"`
	// Shell is what a Dockerfile that is built on the image runs its lines of shell by.
	Shell []string `json:"shell,omitempty"`
	// OnBuild are instructions for a Dockerfile that is built on the image.
	OnBuild []string `json:"on_build,omitempty"`
	// Author is who is to be asked about the image.
	Author string `json:"author,omitempty"`
	// Comment is a line about the image.
	Comment string `json:"comment,omitempty"`
	// Created is a time as RFC 3339 has it, or in seconds since 1970; [DefaultCreated] when empty.
	Created string `json:"created,omitempty"`
	// Annotations are the manifest's annotations.
	Annotations map[string]string `json:"annotations,omitempty"`
	// MediaTypes is [MediaTypesOCI] or [MediaTypesDocker]; the former when empty.
	MediaTypes string `json:"media_types,omitempty"`

	// MaxLayers is the greatest number of layers, the base's among them; 0 for [MaxLayers].
	MaxLayers int `json:"max_layers,omitempty"`
	// BaseLayers is how many layers the base is said to have; 0 if nothing is said.
	BaseLayers int `json:"base_layers,omitempty"`

	// StorePathsMounted says that store paths come in by a mount: those that the settings name need not be in the image.
	StorePathsMounted bool `json:"store_paths_mounted,omitempty"`

	// Stamp says that {KEY} in labels, annotations, author, comment and created stands
	// for a value of Status, or of StampDefaults.
	Stamp bool `json:"stamp,omitempty"`
	// StampDefaults are values for keys that Status hasn't.
	StampDefaults map[string]string `json:"stamp_defaults,omitempty"`
	// Status is what is known of the build: no part of the settings' JSON.
	Status Status `json:"-"`

	// Unfinished says that more layers come on top, in another image, and that its user may be defined there. It is no part of the JSON.
	Unfinished bool `json:"-"`

	fileLabels, fileAnnotations map[string]string // of [Settings.AddFiles]
}

// ReadSettings reads and checks the settings file at path.
func ReadSettings(path string) (*Settings, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, MaxSettingsSize+1))
	if err != nil {
		return nil, fmt.Errorf("settings %s: %w", path, err)
	}
	s, err := ParseSettings(b)
	if err != nil {
		return nil, fmt.Errorf("settings %s: %w", path, err)
	}
	return s, nil
}

// ParseSettings reads settings from JSON and checks them as [Settings.Check]
// does, unless they are to be stamped. It is strict, as package strictjson says.
func ParseSettings(b []byte) (*Settings, error) {
	if len(b) > MaxSettingsSize {
		return nil, fmt.Errorf("over %d bytes", MaxSettingsSize)
	}
	doc, err := strictjson.Parse(b)
	if err != nil {
		return nil, err
	}
	s := new(Settings)
	var fields []strictjson.Field
	field := func(name string, read func(*strictjson.Value) error) {
		fields = append(fields, strictjson.Field{Name: name, Read: read, Optional: true})
	}
	field("system", strictjson.StringInto(&s.System))
	field("architecture", strictjson.StringInto(&s.Architecture))
	field("os", strictjson.StringInto(&s.OS))
	field("variant", strictjson.StringInto(&s.Variant))
	field("config_json", strictjson.StringInto(&s.ConfigJSON))
	field("entrypoint", listInto(&s.Entrypoint))
	field("cmd", listInto(&s.Cmd))
	field("env", listInto(&s.Env))
	field("env_prepend", listInto(&s.EnvPrepend))
	field("labels", mapInto(&s.Labels))
	field("user", strictjson.StringInto(&s.User))
	field("workdir", strictjson.StringInto(&s.WorkingDir))
	field("ports", listInto(&s.ExposedPorts))
	field("volumes", listInto(&s.Volumes))
	field("stop_signal", strictjson.StringInto(&s.StopSignal))
	field("healthcheck", listInto(&s.Healthcheck))
	field("healthcheck_options", mapInto(&s.HealthcheckOptions))
	field("shell", listInto(&s.Shell))
	field("on_build", listInto(&s.OnBuild))
	field("author", strictjson.StringInto(&s.Author))
	field("comment", strictjson.StringInto(&s.Comment))
	field("created", strictjson.StringInto(&s.Created))
	field("annotations", mapInto(&s.Annotations))
	field("media_types", strictjson.StringInto(&s.MediaTypes))
	field("max_layers", countInto(&s.MaxLayers))
	field("base_layers", countInto(&s.BaseLayers))
	field("store_paths_mounted", boolInto(&s.StorePathsMounted))
	field("stamp", boolInto(&s.Stamp))
	field("stamp_defaults", mapInto(&s.StampDefaults))
	if err := doc.Fields(fields...); err != nil {
		return nil, err
	}
	if s.Stamp {
		return s, nil // What the values make of them is known later.
	}
	return s, s.Check()
}

// countInto reads a number of layers.
func countInto(p *int) func(*strictjson.Value) error {
	return func(v *strictjson.Value) error {
		n, err := v.Int()
		if err == nil && (n < 0 || n > MaxLayers) {
			err = v.Errorf("want 0 to %d, found %d", MaxLayers, n)
		}
		*p = int(n)
		return err
	}
}

// Check says what is wrong with the settings: every fault, each with the
// setting's name and the value, or nil.
func (s *Settings) Check() error {
	_, err := s.say()
	return err
}

// said is what settings say, in the terms of a config and a manifest.
type said struct {
	platform        ocispec.Platform
	config          containerConfig
	envPrepend      []string
	author, comment string
	created         time.Time
	annotations     map[string]string
}

// say puts the settings into image-spec's terms.
func (s *Settings) say() (*said, error) {
	var faults []error
	fault := func(name, value string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %q: %w", name, value, err))
		}
	}
	out := &said{envPrepend: s.EnvPrepend}
	var err error
	if out.platform, err = s.Platform(); err != nil {
		faults = append(faults, err)
	}
	below := new(containerConfig)
	if s.ConfigJSON != "" {
		if below, err = parseConfigJSON([]byte(s.ConfigJSON)); err != nil {
			faults = append(faults, fmt.Errorf("config_json: %w", err))
			below = new(containerConfig)
		}
		below.check(func(name, value string, err error) { fault("config_json: "+name, value, err) })
	}
	stamped := s.stamper(fault)
	own := containerConfig{
		ImageConfig: ocispec.ImageConfig{
			User: s.User, Env: s.Env, Entrypoint: s.Entrypoint, Cmd: s.Cmd,
			WorkingDir: s.WorkingDir, Labels: union(s.fileLabels, stamped.all("labels", s.Labels)), StopSignal: s.StopSignal,
		},
		Healthcheck: parseHealthcheck(s.Healthcheck, s.HealthcheckOptions, fault),
		Shell:       s.Shell,
		OnBuild:     s.OnBuild,
	}
	for _, p := range s.ExposedPorts {
		port, err := parsePort(p)
		if _, twice := own.ExposedPorts[port]; twice && err == nil {
			err = fmt.Errorf("%s is listed twice", port)
		}
		fault("ports", p, err)
		own.ExposedPorts = union(own.ExposedPorts, map[string]struct{}{port: {}})
	}
	for _, v := range s.Volumes {
		if _, twice := own.Volumes[v]; twice {
			fault("volumes", v, errors.New("listed twice"))
		}
		own.Volumes = union(own.Volumes, map[string]struct{}{v: {}})
	}
	own.check(fault)
	out.config = own.over(*below)
	checkEnv("env_prepend", s.EnvPrepend, fault)

	out.annotations = union(s.fileAnnotations, stamped.all("annotations", s.Annotations))
	checkKeys("annotations", out.annotations, fault)
	switch types, err := mediaTypesNamed(s.MediaTypes); {
	case err != nil:
		faults = append(faults, err)
	case types == dockerTypes && len(out.annotations) > 0:
		faults = append(faults, errors.New("annotations: docker's manifests have none: leave them out, or use OCI's media types"))
	}
	out.author, out.comment = stamped.one("author", s.Author), stamped.one("comment", s.Comment)
	fault("author", out.author, checkText(out.author))
	fault("comment", out.comment, checkText(out.comment))
	n := len(faults)
	created := stamped.one("created", s.Created)
	out.created, err = parseCreated(created)
	if len(faults) == n {
		fault("created", created, err)
	}
	// Several faults come out of maps: sort them, so that the message is the same each time.
	slices.SortStableFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return out, joinFaults(faults)
}

// stamper puts the build's values into settings.
type stamper struct {
	stamp *Stamp // nil: there are none
	fault func(name, value string, err error)
}

func (s *Settings) stamper(fault func(name, value string, err error)) *stamper {
	if !s.Stamp {
		return &stamper{fault: fault}
	}
	return &stamper{stamp: &Stamp{Status: s.Status, Defaults: s.StampDefaults}, fault: fault}
}

func (s *stamper) one(name, value string) string {
	if s.stamp == nil {
		return value
	}
	out, err := s.stamp.Apply(value)
	if err != nil {
		s.fault(name, value, err)
		return value
	}
	return out
}

func (s *stamper) all(name string, values map[string]string) map[string]string {
	if s.stamp == nil {
		return values
	}
	out := make(map[string]string, len(values))
	for k, v := range values {
		out[k] = s.one(name, v)
	}
	return out
}

// parseCreated reads a time as RFC 3339 has it, or in seconds since 1970, which is
// what Bazel's BUILD_TIMESTAMP and SOURCE_DATE_EPOCH are.
func parseCreated(s string) (time.Time, error) {
	if s == "" {
		s = DefaultCreated
	}
	at, err := time.Parse(time.RFC3339, s)
	if seconds, e := strconv.ParseInt(s, 10, 64); e == nil {
		at, err = time.Unix(seconds, 0), nil
	}
	at = at.UTC()
	if err != nil || at.Year() < 0 || at.Year() > 9999 {
		return at, errors.New("want a time as RFC 3339 has it, such as " + DefaultCreated + ", or in seconds since 1970")
	}
	return at, nil
}

// faultList is several errors of equal rank, one a line.
type faultList []error

func (l faultList) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults:", len(l))
	for _, err := range l {
		b.WriteString("\n\t" + err.Error())
	}
	return b.String()
}

func (l faultList) Unwrap() []error { return l }

func joinFaults(faults []error) error {
	if len(faults) > 1 {
		return faultList(faults)
	}
	if len(faults) == 1 {
		return faults[0]
	}
	return nil
}

// Platform returns the platform that the settings are for.
func (s *Settings) Platform() (ocispec.Platform, error) {
	if s.System != "" {
		if s.Architecture != "" || s.OS != "" || s.Variant != "" {
			return ocispec.Platform{}, fmt.Errorf("system: %q: say either this or architecture, os and variant", s.System)
		}
		return PlatformOf(s.System)
	}
	p := ocispec.Platform{Architecture: s.Architecture, OS: s.OS, Variant: s.Variant}
	if p.OS == "" {
		p.OS = "linux"
	}
	if p.OS != "linux" {
		return p, fmt.Errorf("os: %q: want \"linux\"", p.OS)
	}
	if p.Architecture == "" {
		return p, errors.New("system: want a system, such as x86_64-linux, or an architecture")
	}
	var known []string
	for _, k := range platforms {
		known = append(known, k.Architecture)
	}
	if !slices.Contains(known, p.Architecture) {
		slices.Sort(known)
		return p, fmt.Errorf("architecture: %q: want one of %s", p.Architecture, strings.Join(slices.Compact(known), ", "))
	}
	if p.Variant != "" {
		n, ok := strings.CutPrefix(p.Variant, "v")
		if _, err := strconv.ParseUint(n, 10, 8); !ok || err != nil {
			return p, fmt.Errorf("variant: %q: want v and a number, such as v7", p.Variant)
		}
	}
	return p, nil
}

// checkText refuses what no program's argument or environment can hold, and what JSON can't.
func checkText(s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return errors.New("holds a NUL character")
	}
	if !utf8.ValidString(s) {
		return errors.New("not UTF-8")
	}
	return nil
}

// checkDir wants an absolute path that stays what it looks like.
func checkDir(s string) error {
	if s == "" || s[0] != '/' {
		return errors.New("want an absolute path")
	}
	if slices.Contains(strings.Split(s, "/"), "..") {
		return errors.New(`want a path without ".."`)
	}
	return checkText(s)
}

func checkVolume(s string) error {
	err := checkDir(s)
	if err == nil && strings.Trim(s, "/") == "" {
		err = errors.New("the root can't be a volume")
	}
	return err
}

// maxID is the greatest uid and gid that runc takes.
const maxID = 1<<31 - 1

func checkUser(s string) error {
	user, group, both := strings.Cut(s, ":")
	if err := checkUserPart(user); err != nil {
		return err
	}
	if both {
		return checkUserPart(group)
	}
	return nil
}

func checkUserPart(s string) error {
	want := errors.New("want USER or USER:GROUP, each a name or a number")
	if s == "" || s[0] == '-' || s[0] == '+' || strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r == 0x7f || r == ':' || r == '/' || r == utf8.RuneError
	}) {
		return want
	}
	if strings.Trim(s, "0123456789") == "" {
		if n, err := strconv.ParseUint(s, 10, 64); err != nil || n > maxID {
			return fmt.Errorf("%s is no user or group ID: want 0 to %d", s, maxID)
		}
	}
	return nil
}

// parsePort returns the port with its protocol.
func parsePort(s string) (string, error) {
	number, proto, ok := strings.Cut(s, "/")
	if !ok {
		proto = "tcp"
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 || number[0] == '0' || number[0] == '+' {
		return "", errors.New("want PORT or PORT/PROTOCOL with a port from 1 to 65535")
	}
	if proto != "tcp" && proto != "udp" && proto != "sctp" {
		return "", fmt.Errorf("protocol %q: want tcp, udp or sctp", proto)
	}
	return number + "/" + proto, nil
}

// signals are Linux's, as signal(7) lists them.
var signals = strings.Fields(`ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT
	SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX`)

func checkSignal(s string) error {
	want := errors.New("want a signal such as SIGTERM, SIGRTMIN+3 or 15")
	if n, err := strconv.ParseUint(s, 10, 8); err == nil && 1 <= n && n <= 64 && s[0] != '0' {
		return nil
	}
	name, ok := strings.CutPrefix(s, "SIG")
	if !ok {
		return want
	}
	for _, rt := range []string{"RTMIN+", "RTMAX-"} {
		if n, found := strings.CutPrefix(name, rt); found {
			if v, err := strconv.ParseUint(n, 10, 8); err != nil || v < 1 || v > 30 || n[0] == '0' {
				return want
			}
			return nil
		}
	}
	if !slices.Contains(signals, name) {
		return want
	}
	return nil
}
