package image

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/strictjson"
)

// configDocument is a config as it is written: image-spec's (config.md), and at
// the end the comment that docker adds.
type configDocument struct {
	Created *time.Time `json:"created,omitempty"`
	Author  string     `json:"author,omitempty"`
	ocispec.Platform
	Config  containerConfig   `json:"config,omitempty"`
	RootFS  ocispec.RootFS    `json:"rootfs"`
	History []ocispec.History `json:"history,omitempty"`
	Comment string            `json:"comment,omitempty"`
}

// containerConfig is the object "config" in it: image-spec's fields, and behind
// them what docker has besides (moby, api/types/container.Config and image/spec/v1.2.md),
// as docker writes it.
//
// Where one goes over another ([containerConfig.over]), nil and empty
// mean that nothing is said, save for Entrypoint and Cmd: empty but not nil, they
// clear what is below.
type containerConfig struct {
	ocispec.ImageConfig
	Healthcheck *healthcheck `json:"Healthcheck,omitempty"`
	Shell       []string     `json:"Shell,omitempty"`
	OnBuild     []string     `json:"OnBuild,omitempty"`
	// What follows is of containers rather than of images. Docker writes it into
	// configs, and nobody reads it there.
	Hostname        string `json:"Hostname,omitempty"`
	Domainname      string `json:"Domainname,omitempty"`
	AttachStdin     bool   `json:"AttachStdin,omitempty"`
	AttachStdout    bool   `json:"AttachStdout,omitempty"`
	AttachStderr    bool   `json:"AttachStderr,omitempty"`
	Tty             bool   `json:"Tty,omitempty"`
	OpenStdin       bool   `json:"OpenStdin,omitempty"`
	StdinOnce       bool   `json:"StdinOnce,omitempty"`
	Image           string `json:"Image,omitempty"`
	NetworkDisabled bool   `json:"NetworkDisabled,omitempty"`
	MacAddress      string `json:"MacAddress,omitempty"`
	StopTimeout     *int64 `json:"StopTimeout,omitempty"` // seconds
	Memory          int64  `json:"Memory,omitempty"`      // bytes
	MemorySwap      int64  `json:"MemorySwap,omitempty"`  // bytes; -1: no limit
	CPUShares       int64  `json:"CpuShares,omitempty"`
}

// healthcheck is docker's HealthcheckConfig; times are in nanoseconds.
type healthcheck struct {
	Test          []string      `json:"Test,omitempty"`
	Interval      time.Duration `json:"Interval,omitempty"`
	Timeout       time.Duration `json:"Timeout,omitempty"`
	StartPeriod   time.Duration `json:"StartPeriod,omitempty"`
	StartInterval time.Duration `json:"StartInterval,omitempty"`
	Retries       int64         `json:"Retries,omitempty"`
}

// over returns what c says, and what below says of which c says nothing.
// Variables and labels go by name; ports and volumes add up.
func (c containerConfig) over(below containerConfig) containerConfig {
	out := below
	replace(&out.User, c.User)
	replace(&out.WorkingDir, c.WorkingDir)
	replace(&out.StopSignal, c.StopSignal)
	out.Env = setVariables(below.Env, c.Env)
	out.Labels = union(below.Labels, c.Labels)
	out.ExposedPorts = union(below.ExposedPorts, c.ExposedPorts)
	out.Volumes = union(below.Volumes, c.Volumes)
	if c.Entrypoint != nil {
		out.Entrypoint = c.Entrypoint
	}
	if c.Cmd != nil {
		out.Cmd = c.Cmd
	}
	if c.Healthcheck != nil {
		out.Healthcheck = c.Healthcheck
	}
	if len(c.Shell) > 0 {
		out.Shell = c.Shell
	}
	if len(c.OnBuild) > 0 {
		out.OnBuild = c.OnBuild
	}
	replace(&out.Hostname, c.Hostname)
	replace(&out.Domainname, c.Domainname)
	replace(&out.AttachStdin, c.AttachStdin)
	replace(&out.AttachStdout, c.AttachStdout)
	replace(&out.AttachStderr, c.AttachStderr)
	replace(&out.Tty, c.Tty)
	replace(&out.OpenStdin, c.OpenStdin)
	replace(&out.StdinOnce, c.StdinOnce)
	replace(&out.Image, c.Image)
	replace(&out.NetworkDisabled, c.NetworkDisabled)
	replace(&out.MacAddress, c.MacAddress)
	replace(&out.StopTimeout, c.StopTimeout)
	replace(&out.Memory, c.Memory)
	replace(&out.MemorySwap, c.MemorySwap)
	replace(&out.CPUShares, c.CPUShares)
	return out
}

// onBase returns the config of an image on a base: [containerConfig.over], but an
// entrypoint of its own clears the base's cmd, which was meant for the base's
// entrypoint, as a Dockerfile's does. A base's triggers (ONBUILD) are for a
// `docker build` and gone after it: they are not inherited.
func (c containerConfig) onBase(base containerConfig) containerConfig {
	if c.Entrypoint != nil && c.Cmd == nil {
		base.Cmd = nil
	}
	base.OnBuild = nil
	return c.over(base)
}

func replace[T comparable](to *T, value T) {
	var zero T
	if value != zero {
		*to = value
	}
}

func union[V any](below, above map[string]V) map[string]V {
	if len(above) == 0 {
		return below
	}
	out := maps.Clone(below)
	if out == nil {
		out = map[string]V{}
	}
	maps.Copy(out, above)
	return out
}

// setVariables returns an environment with the variables set: in their place
// where they are there already, at the end where not.
func setVariables(env, set []string) []string {
	out := slices.Clone(env)
	for _, v := range set {
		if i := indexOfVariable(out, v); i >= 0 {
			out[i] = v
		} else {
			out = append(out, v)
		}
	}
	return out
}

// prependVariables puts values in front of lists that are joined by colons, such as PATH.
func prependVariables(env, front []string) []string {
	out := slices.Clone(env)
	for _, v := range front {
		i := indexOfVariable(out, v)
		if i < 0 {
			out = append(out, v)
		} else if _, old, _ := strings.Cut(out[i], "="); old != "" {
			out[i] = v + ":" + old
		} else {
			out[i] = v
		}
	}
	return out
}

// indexOfVariable finds the variable that v, "NAME=value", sets; -1 if it is not there.
func indexOfVariable(env []string, v string) int {
	name, _, _ := strings.Cut(v, "=")
	return slices.IndexFunc(env, func(e string) bool {
		n, _, _ := strings.Cut(e, "=")
		return n == name
	})
}

// ParseConfigJSON checks a config as docker and OCI write it, the object that
// `docker inspect` shows as Config and that dockerTools calls config: strictly, so
// that a key nobody knows is an error. Null is as good as left out.
func ParseConfigJSON(b []byte) error {
	_, err := parseConfigJSON(b)
	return err
}

func parseConfigJSON(b []byte) (*containerConfig, error) {
	if len(b) > MaxSettingsSize {
		return nil, fmt.Errorf("over %d bytes", MaxSettingsSize)
	}
	doc, err := strictjson.Parse(b)
	if err != nil {
		return nil, err
	}
	c := new(containerConfig)
	readers := c.readers()
	return c, doc.Members(func(name string, v *strictjson.Value) error {
		read, ok := readers[name]
		if !ok {
			return v.Errorf("%s", unknownKey(name, readers))
		}
		if v.IsNull() {
			return nil
		}
		return read(v)
	})
}

// unknownKey says what may have been meant.
func unknownKey(name string, readers map[string]func(*strictjson.Value) error) string {
	known := slices.Sorted(maps.Keys(readers))
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return "unknown key; it is written " + k
		}
	}
	if name == "config" || name == "rootfs" || name == "architecture" {
		return `unknown key; want what a whole config has as "config", with keys such as Cmd and Env`
	}
	return "unknown key; known are " + strings.Join(known, ", ")
}

func (c *containerConfig) readers() map[string]func(*strictjson.Value) error {
	return map[string]func(*strictjson.Value) error{
		"User":            strictjson.StringInto(&c.User),
		"ExposedPorts":    setInto(&c.ExposedPorts, parsePort),
		"Env":             listInto(&c.Env),
		"Entrypoint":      listInto(&c.Entrypoint),
		"Cmd":             listInto(&c.Cmd),
		"Volumes":         setInto(&c.Volumes, func(s string) (string, error) { return s, nil }),
		"WorkingDir":      strictjson.StringInto(&c.WorkingDir),
		"Labels":          mapInto(&c.Labels),
		"StopSignal":      strictjson.StringInto(&c.StopSignal),
		"ArgsEscaped":     boolInto(new(bool)), // Of Windows alone; docker writes it elsewhere too.
		"Healthcheck":     c.readHealthcheck,
		"Shell":           listInto(&c.Shell),
		"OnBuild":         listInto(&c.OnBuild),
		"Hostname":        strictjson.StringInto(&c.Hostname),
		"Domainname":      strictjson.StringInto(&c.Domainname),
		"AttachStdin":     boolInto(&c.AttachStdin),
		"AttachStdout":    boolInto(&c.AttachStdout),
		"AttachStderr":    boolInto(&c.AttachStderr),
		"Tty":             boolInto(&c.Tty),
		"OpenStdin":       boolInto(&c.OpenStdin),
		"StdinOnce":       boolInto(&c.StdinOnce),
		"Image":           strictjson.StringInto(&c.Image),
		"NetworkDisabled": boolInto(&c.NetworkDisabled),
		"MacAddress":      strictjson.StringInto(&c.MacAddress),
		"StopTimeout": func(v *strictjson.Value) error {
			n, err := v.Int()
			c.StopTimeout = &n
			return err
		},
		"Memory":     intInto(&c.Memory),
		"MemorySwap": intInto(&c.MemorySwap),
		"CpuShares":  intInto(&c.CPUShares),
	}
}

func (c *containerConfig) readHealthcheck(v *strictjson.Value) error {
	h := new(healthcheck)
	c.Healthcheck = h
	field := func(name string, read func(*strictjson.Value) error) strictjson.Field {
		return strictjson.Field{Name: name, Read: read, Optional: true}
	}
	return v.Fields(
		field("Test", listInto(&h.Test)),
		field("Interval", intInto((*int64)(&h.Interval))),
		field("Timeout", intInto((*int64)(&h.Timeout))),
		field("StartPeriod", intInto((*int64)(&h.StartPeriod))),
		field("StartInterval", intInto((*int64)(&h.StartInterval))),
		field("Retries", intInto(&h.Retries)),
	)
}

// listInto reads a list of strings; an empty one is not nil.
func listInto(p *[]string) func(*strictjson.Value) error {
	return func(v *strictjson.Value) error {
		*p = []string{}
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

// setInto reads a set as Go writes it: an object whose members are empty objects, or null.
func setInto(p *map[string]struct{}, parse func(string) (string, error)) func(*strictjson.Value) error {
	return func(v *strictjson.Value) error {
		*p = map[string]struct{}{}
		return v.Members(func(name string, m *strictjson.Value) error {
			key, err := parse(name)
			if err != nil {
				return m.Errorf("%q: %w", name, err)
			}
			if _, twice := (*p)[key]; twice {
				return m.Errorf("%q: %s is listed twice", name, key)
			}
			(*p)[key] = struct{}{}
			if m.IsNull() {
				return nil
			}
			return m.Fields()
		})
	}
}

func boolInto(p *bool) func(*strictjson.Value) error {
	return func(v *strictjson.Value) (err error) {
		*p, err = v.Bool()
		return err
	}
}

func intInto(p *int64) func(*strictjson.Value) error {
	return func(v *strictjson.Value) (err error) {
		*p, err = v.Int()
		return err
	}
}

// check tells what no image can have, by the settings' names.
func (c *containerConfig) check(fault func(name, value string, err error)) {
	if c.User != "" {
		fault("user", c.User, checkUser(c.User))
	}
	for name, args := range map[string][]string{"entrypoint": c.Entrypoint, "cmd": c.Cmd, "shell": c.Shell} {
		for _, a := range args {
			fault(name, a, checkText(a))
		}
	}
	for name, args := range map[string][]string{"entrypoint": c.Entrypoint, "shell": c.Shell} {
		if len(args) > 0 && args[0] == "" {
			fault(name, "", errors.New("the program's name is empty"))
		}
	}
	checkEnv("env", c.Env, fault)
	checkKeys("labels", c.Labels, fault)
	if c.WorkingDir != "" {
		fault("workdir", c.WorkingDir, checkDir(c.WorkingDir))
	}
	for v := range c.Volumes {
		fault("volumes", v, checkVolume(v))
	}
	if c.StopSignal != "" {
		fault("stop_signal", c.StopSignal, checkSignal(c.StopSignal))
	}
	for _, trigger := range c.OnBuild {
		fault("on_build", trigger, checkOnBuild(trigger))
	}
	if c.Healthcheck != nil {
		c.Healthcheck.check(fault)
	}
}

func checkEnv(what string, env []string, fault func(name, value string, err error)) {
	seen := map[string]bool{}
	for _, e := range env {
		name, _, ok := strings.Cut(e, "=")
		switch {
		case !ok || name == "":
			fault(what, e, errors.New("want NAME=value"))
		case seen[name]:
			fault(what, e, fmt.Errorf("%s is set twice", name))
		default:
			fault(what, e, checkText(e))
		}
		seen[name] = true
	}
}

func checkKeys(what string, m map[string]string, fault func(name, value string, err error)) {
	for k, v := range m {
		if k == "" {
			fault(what, k, errors.New("the key is empty"))
			continue
		}
		fault(what, k, errors.Join(checkText(k), checkText(v)))
	}
}

// checkOnBuild refuses what docker refuses to have as a trigger.
func checkOnBuild(trigger string) error {
	word, _, _ := strings.Cut(strings.TrimSpace(trigger), " ")
	switch strings.ToUpper(word) {
	case "":
		return errors.New("want an instruction of a Dockerfile, such as RUN make")
	case "ONBUILD", "FROM", "MAINTAINER":
		return fmt.Errorf("docker takes no %s as a trigger", strings.ToUpper(word))
	}
	return checkText(trigger)
}

// The first words of a healthcheck, as docker has them.
const (
	healthNone  = "NONE"
	healthCmd   = "CMD"
	healthShell = "CMD-SHELL"
)

// minHealthTime is the shortest time that docker takes.
const minHealthTime = time.Millisecond

func (h *healthcheck) check(fault func(name, value string, err error)) {
	first := ""
	if len(h.Test) > 0 {
		first = h.Test[0]
	}
	rest := len(h.Test) - 1
	switch {
	case first == healthNone && rest == 0, first == healthCmd && rest > 0 && h.Test[1] != "", first == healthShell && rest == 1:
	case first == healthNone:
		fault("healthcheck", strings.Join(h.Test, " "), errors.New("want nothing behind NONE"))
	case first == healthCmd:
		fault("healthcheck", strings.Join(h.Test, " "), errors.New("want a program and its arguments behind CMD"))
	case first == healthShell:
		fault("healthcheck", strings.Join(h.Test, " "), errors.New("want one line of shell behind CMD-SHELL"))
	default:
		fault("healthcheck", strings.Join(h.Test, " "), errors.New("want CMD and a program with its arguments, CMD-SHELL and a line of shell, or NONE"))
	}
	for _, t := range h.Test {
		fault("healthcheck", t, checkText(t))
	}
	for name, d := range map[string]time.Duration{
		"interval": h.Interval, "timeout": h.Timeout, "start-period": h.StartPeriod, "start-interval": h.StartInterval,
	} {
		if d < 0 || d > 0 && d < minHealthTime {
			fault("healthcheck_options", name, fmt.Errorf("%v: want at least %v", d, minHealthTime))
		}
	}
	if h.Retries < 0 {
		fault("healthcheck_options", "retries", fmt.Errorf("%d: want 0 or more", h.Retries))
	}
}

// parseHealthcheck reads a healthcheck as the settings have it: docker's Test, and
// the options of a Dockerfile's HEALTHCHECK.
func parseHealthcheck(test []string, options map[string]string, fault func(name, value string, err error)) *healthcheck {
	if len(test) == 0 && len(options) == 0 {
		return nil
	}
	h := &healthcheck{Test: test}
	times := map[string]*time.Duration{
		"interval": &h.Interval, "timeout": &h.Timeout, "start-period": &h.StartPeriod, "start-interval": &h.StartInterval,
	}
	for name, value := range options {
		if to := times[name]; to != nil {
			d, err := time.ParseDuration(value)
			if err != nil {
				fault("healthcheck_options", name, fmt.Errorf("%q: want a time such as 30s or 1m30s", value))
			}
			*to = d
			continue
		}
		if name != "retries" {
			fault("healthcheck_options", name, errors.New("want interval, timeout, start-period, start-interval or retries"))
			continue
		}
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			fault("healthcheck_options", name, fmt.Errorf("%q: want a number", value))
		}
		h.Retries = n
	}
	return h
}
