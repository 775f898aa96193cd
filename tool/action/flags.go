package action

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Flags are the arguments that a program, or one of its commands, takes: each is --NAME=VALUE, as Bazel's rules write them. By
// the name, with its dashes, they have what takes the value.
type Flags map[string]func(value string) error

// Parse hands the values to what takes them, in the order of args. Errors are of type [UsageError] and name the argument.
func (f Flags) Parse(args []string) error {
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		set := f[name]
		switch {
		case !strings.HasPrefix(name, "--"):
			return Usagef("argument %q: want --name=value", a)
		case set == nil:
			return Usagef("%s: no such argument", name)
		case value == "":
			return Usagef("%s: it takes a value: %s=…", name, name)
		}
		if err := set(value); err != nil {
			return &UsageError{Err: fmt.Errorf("%s: %w", name, err)}
		}
	}
	return nil
}

// Once takes a value that can be given one time.
func Once(set func(value string) error) func(string) error {
	given := false
	return func(value string) error {
		if given {
			return errors.New("given twice")
		}
		given = true
		return set(value)
	}
}

// Text takes a value that can be given one time, as it is.
func Text(to *string) func(string) error {
	return Once(func(value string) error { *to = value; return nil })
}

// List takes a value that can be given again, as it is.
func List(to *[]string) func(string) error {
	return func(value string) error { *to = append(*to, value); return nil }
}

// Switch takes true or false.
func Switch(to *bool) func(string) error {
	return Once(func(value string) (err error) {
		if *to, err = strconv.ParseBool(value); err != nil {
			err = fmt.Errorf("%q: want true or false", value)
		}
		return err
	})
}

// Require wants a value in each of the pairs (name, value).
func Require(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return Usagef("%s is missing", pairs[i])
		}
	}
	return nil
}

// Distinct wants another file in each of the pairs (name, path), as far as there is one.
func Distinct(pairs ...string) error {
	names := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		path := filepath.Clean(pairs[i+1])
		if first, ok := names[path]; ok {
			return Usagef("%s and %s name the same file %s", first, pairs[i], path)
		}
		names[path] = pairs[i]
	}
	return nil
}
