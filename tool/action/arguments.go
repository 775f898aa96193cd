package action

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxArguments bounds the parameter files of one command line together, in bytes: a
// layer of 20,000 store paths needs some 10 MB.
const maxArguments = 64 << 20

// expand puts the lines of each "@FILE" among args in its place. Bazel hands such parameter files to an action's program
// where its arguments would not fit on a command line. The format is "multiline"
// (https://bazel.build/rules/lib/builtins/Args#set_param_file_format): one argument a line,
// as it is; nothing is quoted, and nothing but a newline ends a line. An argument in
// a file that begins with "@" is only an argument. An empty line is an empty
// argument, but the newline at the end of the file begins none.
//
// Errors name the file: it can't be read, it holds a NUL, or the files are larger than [maxArguments].
func expand(args []string) ([]string, error) {
	var out []string
	left := int64(maxArguments)
	for _, a := range args {
		name, ok := strings.CutPrefix(a, "@")
		if !ok {
			out = append(out, a)
			continue
		}
		b, err := read(name, left)
		if err != nil {
			return nil, fmt.Errorf("parameter file %s: %w", name, err)
		}
		left -= int64(len(b))
		if len(b) > 0 {
			out = append(out, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")...)
		}
	}
	return out, nil
}

func read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("over %d bytes of arguments", maxArguments)
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return nil, fmt.Errorf("line %d holds a NUL, which no argument can", 1+bytes.Count(b[:i], []byte("\n")))
	}
	return b, nil
}
