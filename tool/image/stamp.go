package image

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// Status is what is known of a build: Bazel's workspace status, by key
// (BUILD_TIMESTAMP, STABLE_GIT_COMMIT).
type Status map[string]string

// maxStatusSize bounds a status file, and a file of labels or names, in bytes.
const maxStatusSize = 4 << 20

// ReadStatus reads status files as Bazel writes them (stable-status.txt,
// volatile-status.txt): a key a line, a space, and the value. A later file
// goes over an earlier one.
func ReadStatus(paths ...string) (Status, error) {
	s := Status{}
	for _, path := range paths {
		err := eachLine(path, func(line string) error {
			key, value, _ := strings.Cut(line, " ")
			if !isStatusKey(key) {
				return fmt.Errorf("%.80q: want KEY VALUE, the key of capital letters, digits and _", line)
			}
			s[key] = value
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// ReadKeyValues reads a file of lines KEY=VALUE, as docker's --label-file does:
// empty lines and those that begin with # are left out; a later line goes over an
// earlier one.
func ReadKeyValues(path string) (map[string]string, error) {
	m := map[string]string{}
	return m, eachLine(path, func(line string) error {
		if strings.HasPrefix(line, "#") {
			return nil
		}
		key, value, ok := strings.Cut(line, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return fmt.Errorf("%.80q: want KEY=VALUE", line)
		}
		m[key] = value
		return nil
	})
}

// eachLine calls f for each line of a file that isn't empty, without what ends it.
func eachLine(path string, f func(line string) error) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	limited := &io.LimitedReader{R: in, N: maxStatusSize + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, maxStatusSize+2)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" {
			continue
		}
		if err := f(line); err != nil {
			return fmt.Errorf("%s: line %d: %w", path, n, err)
		}
	}
	if limited.N <= 0 {
		return fmt.Errorf("%s: over %d bytes", path, maxStatusSize)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func isStatusKey(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('A' <= c && c <= 'Z' || c == '_' || i > 0 && isDigit(c)) {
			return false
		}
	}
	return s != ""
}

// Stamp puts values in the place of {KEY}: of a build's status, or else defaults.
type Stamp struct {
	Status   Status
	Defaults map[string]string
}

// Apply returns text with the values. A key that has none is an error. Braces
// around anything else than a key are text, and so are those behind a $.
func (s Stamp) Apply(text string) (string, error) {
	var b strings.Builder
	for rest := text; ; {
		open := strings.IndexByte(rest, '{')
		if open < 0 {
			b.WriteString(rest)
			return b.String(), nil
		}
		end := strings.IndexByte(rest[open:], '}')
		if end < 0 || !isStatusKey(rest[open+1:open+end]) || open > 0 && rest[open-1] == '$' {
			b.WriteString(rest[:open+1])
			rest = rest[open+1:]
			continue
		}
		key := rest[open+1 : open+end]
		value, ok := s.Status[key]
		if !ok {
			value, ok = s.Defaults[key]
		}
		if !ok {
			return "", s.missing(key)
		}
		b.WriteString(rest[:open])
		b.WriteString(value)
		rest = rest[open+end+1:]
	}
}

func (s Stamp) missing(key string) error {
	if len(s.Status) == 0 {
		return fmt.Errorf("{%s} has no value: the build is not stamped, and there is no default for it", key)
	}
	return fmt.Errorf("{%s} has no value: the build's status has %s", key, strings.Join(slices.Sorted(maps.Keys(s.Status)), ", "))
}

// AddFiles adds the labels and annotations of files ([ReadKeyValues]) to those of the
// settings, which go before them. What stands in files is taken as it is: {KEY} is not replaced.
func (s *Settings) AddFiles(labels, annotations []string) error {
	for _, f := range []struct {
		paths []string
		to    *map[string]string
	}{{labels, &s.fileLabels}, {annotations, &s.fileAnnotations}} {
		for _, path := range f.paths {
			m, err := ReadKeyValues(path)
			if err != nil {
				return err
			}
			*f.to = union(*f.to, m)
		}
	}
	return nil
}
