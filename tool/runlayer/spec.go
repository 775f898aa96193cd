package runlayer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/rules-strata/rules_strata/tool/filelayer"
	"github.com/rules-strata/rules_strata/tool/strictjson"
)

const (
	// maxSpec bounds a specification, in bytes.
	maxSpec = 4 << 20
	// maxMtime is what a tar's header has room for.
	maxMtime = 1<<33 - 1
	// MaxTimeLimit is the longest time that a program may be given.
	MaxTimeLimit = 24 * time.Hour
)

// Spec says what is run over an image, and how. It is the run's own: nothing of it gets into an image's config.
type Spec struct {
	// Command is the program and its arguments. A program without a slash is looked up in PATH, in the image.
	Command []string
	// Env are variables, "NAME=VALUE", over those of the image's config.
	Env []string
	// User is whom the program runs as, "USER" or "USER:GROUP": names that the image's /etc/passwd and /etc/group
	// know, or numbers. "": root.
	User string
	// Workdir is the directory that it starts in, absolute; "": the root.
	Workdir string
	// TimeLimit is how long it may take; 0: as long as it likes.
	TimeLimit time.Duration
	// Scratch are directories, as the package's paths "tmp", "var/cache", that the program finds empty, with mode 1777, whatever
	// the image has there, and of which nothing gets into the layer. Nil: [DefaultScratch].
	Scratch []string
	// Owners say whom entries of the layer belong to, whatever the disk says; of several that match the last one counts. So files
	// can be given to others where the program itself can't, having one id only.
	Owners []OwnerRule
	// MtimeUnix is the time of all entries of the layer, in seconds since 1970, and the program's SOURCE_DATE_EPOCH; nil: 1.
	MtimeUnix *int64
}

// OwnerRule says whom the entries belong to that a pattern matches.
type OwnerRule struct {
	// Pattern is as package filelayer has them: "srv/spool/**".
	Pattern string
	// Owner is "UID:GID", or "UID:GID USER:GROUP".
	Owner string
}

// DefaultScratch are the directories that are scratch unless a [Spec] says otherwise.
func DefaultScratch() []string { return []string{"tmp"} }

// The variables that a program has unless the image or the specification says otherwise.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// AddEnv reads "NAME=VALUE".
func (s *Spec) AddEnv(text string) error {
	name, _, ok := strings.Cut(text, "=")
	if !ok || name == "" || strings.ContainsRune(text, 0) {
		return fmt.Errorf("%q: want NAME=VALUE, without NUL", text)
	}
	s.Env = append(s.Env, text)
	return nil
}

// SetUser reads whom the program runs as.
func (s *Spec) SetUser(text string) error {
	for part := range strings.SplitSeq(text, ":") {
		if part == "" || strings.Count(text, ":") > 1 || strings.ContainsAny(part[:1], "+-") ||
			strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f }) {
			return fmt.Errorf("%q: want USER or USER:GROUP, each a name or a number", text)
		}
	}
	s.User = text
	return nil
}

// SetWorkdir reads the directory that the program starts in.
func (s *Spec) SetWorkdir(text string) error {
	if !path.IsAbs(text) || strings.ContainsRune(text, 0) {
		return fmt.Errorf("%q: want an absolute path in the image", text)
	}
	s.Workdir = text
	return nil
}

// SetTimeLimit reads a time such as "90s" or "10m".
func (s *Spec) SetTimeLimit(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > MaxTimeLimit {
		return fmt.Errorf("%q: want a time such as 90s or 10m, at most %s", text, MaxTimeLimit)
	}
	s.TimeLimit = d
	return nil
}

// AddScratch reads the path of a directory that is scratch. "" says that there is none.
func (s *Spec) AddScratch(text string) error {
	if s.Scratch == nil {
		s.Scratch = []string{}
	}
	if text == "" {
		return nil
	}
	p, err := filelayer.CleanPath(text, false)
	if err != nil {
		return err
	}
	for _, other := range append(systemDirs(), s.Scratch...) {
		if overlap(p, other) {
			return fmt.Errorf("%q: it is, or is inside or around, /%s, which is kept out of the layer already", text, other)
		}
	}
	s.Scratch = append(s.Scratch, p)
	return nil
}

// overlap reports whether two clean paths are one, or one is inside the other.
func overlap(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

// checkScratch sees that no store of an image would be hidden from the program.
func (s *Spec) checkScratch(stores []string) error {
	for _, p := range s.scratch() {
		for _, store := range stores {
			if overlap(p, store) {
				return fmt.Errorf("scratch: /%s is, or is inside or around, /%s, where the store paths are", p, store)
			}
		}
	}
	return nil
}

// AddOwner reads an owner, "UID:GID" or "UID:GID USER:GROUP", of what pattern matches.
func (s *Spec) AddOwner(pattern, owner string) error {
	var o filelayer.Options
	if err := o.AddOwner(pattern, owner); err != nil {
		return err
	}
	s.Owners = append(s.Owners, OwnerRule{pattern, owner})
	return nil
}

// parseOwners reads rules that AddOwner has taken.
func parseOwners(rules []OwnerRule) ([]filelayer.OwnerRule, error) {
	var o filelayer.Options
	for _, r := range rules {
		if err := o.AddOwner(r.Pattern, r.Owner); err != nil {
			return nil, fmt.Errorf("owners: %w", err)
		}
	}
	return o.Owners, nil
}

// SetMtime takes seconds since 1970.
func (s *Spec) SetMtime(unix int64) error {
	if unix < 0 || unix > maxMtime {
		return fmt.Errorf("%d: want 0 to %d seconds since 1970", unix, int64(maxMtime))
	}
	s.MtimeUnix = &unix
	return nil
}

// systemDirs are directories that the program finds as a system makes them, and of which nothing gets into the layer.
func systemDirs() []string { return []string{"dev", "proc"} }

// Check says what is missing.
func (s *Spec) Check() error {
	if len(s.Command) == 0 || s.Command[0] == "" {
		return errors.New("command: want a program and its arguments")
	}
	for _, a := range s.Command {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("command: %q: a NUL can't be part of an argument", a)
		}
	}
	_, err := parseOwners(s.Owners)
	return err
}

// ReadFile reads a specification out of a file: a JSON object with command, env (an object), user, workdir, time_limit,
// scratch (a list), owners (an object: owners by pattern) and mtime. Only command must be there.
func ReadFile(name string) (*Spec, error) {
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxSpec+1))
	if err == nil && len(b) > maxSpec {
		err = fmt.Errorf("over %d bytes", maxSpec)
	}
	var s *Spec
	if err == nil {
		s, err = Parse(b)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// Parse reads a specification.
func Parse(b []byte) (*Spec, error) {
	doc, err := strictjson.Parse(b)
	if err != nil {
		return nil, err
	}
	s := &Spec{}
	text := func(set func(string) error) func(*strictjson.Value) error {
		return func(v *strictjson.Value) error {
			t, err := v.Text()
			if err != nil {
				return err
			}
			if err := set(t); err != nil {
				return v.Errorf("%w", err)
			}
			return nil
		}
	}
	err = doc.Fields(
		strictjson.Field{Name: "command", Read: func(v *strictjson.Value) error {
			return v.Each(text(func(t string) error { s.Command = append(s.Command, t); return nil }))
		}},
		strictjson.Field{Name: "env", Optional: true, Read: func(v *strictjson.Value) error {
			return v.Members(func(name string, v *strictjson.Value) error {
				if strings.ContainsRune(name, '=') {
					return v.Errorf("%q: a variable's name has no =", name)
				}
				return text(func(t string) error { return s.AddEnv(name + "=" + t) })(v)
			})
		}},
		strictjson.Field{Name: "user", Read: text(s.SetUser), Optional: true},
		strictjson.Field{Name: "workdir", Read: text(s.SetWorkdir), Optional: true},
		strictjson.Field{Name: "time_limit", Read: text(s.SetTimeLimit), Optional: true},
		strictjson.Field{Name: "scratch", Optional: true, Read: func(v *strictjson.Value) error {
			s.Scratch = []string{}
			return v.Each(text(s.AddScratch))
		}},
		strictjson.Field{Name: "owners", Optional: true, Read: func(v *strictjson.Value) error {
			return v.Members(func(pattern string, v *strictjson.Value) error {
				return text(func(t string) error { return s.AddOwner(pattern, t) })(v)
			})
		}},
		strictjson.Field{Name: "mtime", Optional: true, Read: func(v *strictjson.Value) error {
			n, err := v.Int()
			if err == nil {
				if err = s.SetMtime(n); err != nil {
					err = v.Errorf("%w", err)
				}
			}
			return err
		}},
	)
	if err == nil {
		err = s.Check()
	}
	return s, err
}

// environment is what the program gets: a path, what the image's config says, and what s says, of each variable the last.
func (s *Spec) environment(image []string) []string {
	env := []string{defaultPath, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", s.mtime())}
	for _, v := range slices.Concat(image, s.Env) {
		name, _, _ := strings.Cut(v, "=")
		env = append(slices.DeleteFunc(env, func(old string) bool { return strings.HasPrefix(old, name+"=") }), v)
	}
	return env
}

func (s *Spec) mtime() int64 {
	if s.MtimeUnix == nil {
		return 1
	}
	return *s.MtimeUnix
}

func (s *Spec) scratch() []string {
	if s.Scratch == nil {
		return DefaultScratch()
	}
	return s.Scratch
}
