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
// object with the fields below, each of which may be left out save the platform.
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

	// Entrypoint is the program and its first arguments.
	Entrypoint []string `json:"entrypoint,omitempty"`
	// Cmd is the arguments that `docker run` replaces; the program too, without Entrypoint.
	Cmd []string `json:"cmd,omitempty"`
	// Env is the environment, each "NAME=value", in this order; no name twice.
	Env []string `json:"env,omitempty"`
	// Labels are the config's labels.
	Labels map[string]string `json:"labels,omitempty"`
	// User is a name or a number, alone or with a group: "nobody", "1000:100".
	User string `json:"user,omitempty"`
	// WorkingDir is the absolute path in which the program starts.
	WorkingDir string `json:"workingDir,omitempty"`
	// ExposedPorts are "PORT" or "PORT/PROTOCOL"; the config always says the protocol.
	ExposedPorts []string `json:"exposedPorts,omitempty"`
	// Volumes are absolute paths.
	Volumes []string `json:"volumes,omitempty"`
	// StopSignal is a signal's name or number: "SIGTERM", "SIGRTMIN+3", "15".
	StopSignal string `json:"stopSignal,omitempty"`
	// Created is a time as RFC 3339 has it; [DefaultCreated] when empty.
	Created string `json:"created,omitempty"`
	// Annotations are the manifest's annotations.
	Annotations map[string]string `json:"annotations,omitempty"`
	// MediaTypes is [MediaTypesOCI] or [MediaTypesDocker]; the former when empty.
	MediaTypes string `json:"mediaTypes,omitempty"`
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
// does. It is strict, as package strictjson says.
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
	field("entrypoint", listInto(&s.Entrypoint))
	field("cmd", listInto(&s.Cmd))
	field("env", listInto(&s.Env))
	field("labels", mapInto(&s.Labels))
	field("user", strictjson.StringInto(&s.User))
	field("workingDir", strictjson.StringInto(&s.WorkingDir))
	field("exposedPorts", listInto(&s.ExposedPorts))
	field("volumes", listInto(&s.Volumes))
	field("stopSignal", strictjson.StringInto(&s.StopSignal))
	field("created", strictjson.StringInto(&s.Created))
	field("annotations", mapInto(&s.Annotations))
	field("mediaTypes", strictjson.StringInto(&s.MediaTypes))
	if err := doc.Fields(fields...); err != nil {
		return nil, err
	}
	return s, s.Check()
}

func listInto(p *[]string) func(*strictjson.Value) error {
	return func(v *strictjson.Value) error {
		return v.Each(func(e *strictjson.Value) error {
			text, err := e.Text()
			*p = append(*p, text)
			return err
		})
	}
}

func mapInto(p *map[string]string) func(*strictjson.Value) error {
	return func(v *strictjson.Value) error {
		*p = map[string]string{}
		return v.Members(func(name string, m *strictjson.Value) (err error) {
			(*p)[name], err = m.Text()
			return err
		})
	}
}

// Check says what is wrong with the settings: every fault, each with the
// setting's name and the value, or nil.
func (s *Settings) Check() error {
	_, _, _, err := s.config()
	return err
}

// config returns what the settings say in image-spec's terms.
func (s *Settings) config() (ocispec.Platform, ocispec.ImageConfig, time.Time, error) {
	var faults []error
	fault := func(name, value string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %q: %w", name, value, err))
		}
	}
	platform, err := s.platform()
	if err != nil {
		faults = append(faults, err)
	}
	c := ocispec.ImageConfig{
		User: s.User, Env: s.Env, Entrypoint: s.Entrypoint, Cmd: s.Cmd,
		WorkingDir: s.WorkingDir, Labels: s.Labels, StopSignal: s.StopSignal,
	}
	if s.User != "" {
		fault("user", s.User, checkUser(s.User))
	}
	for name, args := range map[string][]string{"entrypoint": s.Entrypoint, "cmd": s.Cmd} {
		for _, a := range args {
			fault(name, a, checkText(a))
		}
	}
	if len(s.Entrypoint) > 0 && s.Entrypoint[0] == "" {
		fault("entrypoint", "", errors.New("the program's name is empty"))
	}
	seen := map[string]bool{}
	for _, e := range s.Env {
		name, _, ok := strings.Cut(e, "=")
		switch {
		case !ok || name == "":
			fault("env", e, errors.New("want NAME=value"))
		case seen[name]:
			fault("env", e, fmt.Errorf("%s is set twice", name))
		default:
			fault("env", e, checkText(e))
		}
		seen[name] = true
	}
	for what, m := range map[string]map[string]string{"labels": s.Labels, "annotations": s.Annotations} {
		for k, v := range m {
			if k == "" {
				fault(what, k, errors.New("the key is empty"))
			}
			fault(what, k, checkText(k))
			fault(what, k, checkText(v))
		}
	}
	if s.WorkingDir != "" {
		fault("workingDir", s.WorkingDir, checkDir(s.WorkingDir))
	}
	for _, p := range s.ExposedPorts {
		port, err := parsePort(p)
		if _, twice := c.ExposedPorts[port]; err == nil && twice {
			err = fmt.Errorf("%s is listed twice", port)
		}
		fault("exposedPorts", p, err)
		if c.ExposedPorts == nil {
			c.ExposedPorts = map[string]struct{}{}
		}
		c.ExposedPorts[port] = struct{}{}
	}
	for _, v := range s.Volumes {
		err := checkDir(v)
		if _, twice := c.Volumes[v]; twice {
			err = errors.New("listed twice")
		} else if strings.Trim(v, "/") == "" && err == nil {
			err = errors.New("the root can't be a volume")
		}
		fault("volumes", v, err)
		if c.Volumes == nil {
			c.Volumes = map[string]struct{}{}
		}
		c.Volumes[v] = struct{}{}
	}
	if s.StopSignal != "" {
		fault("stopSignal", s.StopSignal, checkSignal(s.StopSignal))
	}
	switch types, err := mediaTypesNamed(s.MediaTypes); {
	case err != nil:
		faults = append(faults, err)
	case types == dockerTypes && len(s.Annotations) > 0:
		faults = append(faults, errors.New("annotations: docker's manifests have none: leave them out, or use OCI's media types"))
	}
	created := s.Created
	if created == "" {
		created = DefaultCreated
	}
	at, err := time.Parse(time.RFC3339, created)
	at = at.UTC()
	if err != nil || at.Year() < 0 || at.Year() > 9999 {
		fault("created", created, errors.New("want a time as RFC 3339 has it, such as "+DefaultCreated))
	}
	// Several faults come out of maps: sort them, so that the message is the same each time.
	slices.SortStableFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return platform, c, at, joinFaults(faults)
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

func (s *Settings) platform() (ocispec.Platform, error) {
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
