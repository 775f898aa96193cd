package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// maxNetrc is more than any netrc has, in bytes.
const maxNetrc = 1 << 20

// netrc is what a file of that form says of hosts: the words machine, default, login, password, account and
// macdef, each but default with a value behind it (netrc(5) of inetutils; quoted values as in CURLOPT_NETRC(3)).
type netrc []netrcEntry

// netrcEntry is what a netrc says of one machine.
type netrcEntry struct {
	machine         string // "": of any ("default")
	login, password string
}

// find returns the first entry for a host and, unless it is empty, a login.
func (n netrc) find(host, login string) (netrcEntry, bool) {
	for _, e := range n {
		if (e.machine == "" || strings.EqualFold(e.machine, host)) && (login == "" || e.login == login) && (e.login != "" || e.password != "") {
			return e, true
		}
	}
	return netrcEntry{}, false
}

// netrcPath is where the user's netrc is: $NETRC, or .netrc in the home folder, on Windows also _netrc there. "" if nothing
// says where.
func netrcPath() string {
	if path := os.Getenv("NETRC"); path != "" {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	path := filepath.Join(home, ".netrc")
	if _, err := os.Stat(path); err != nil && runtime.GOOS == "windows" {
		return filepath.Join(home, "_netrc")
	}
	return path
}

// readNetrc reads a netrc; one that isn't there is empty. Who else can read the file is the user's
// business. No error holds anything of the file's contents.
func readNetrc(path string) (netrc, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxNetrc+1)) // Perhaps a pipe: NETRC=<(…)
	if err != nil {
		return nil, err
	}
	if len(text) > maxNetrc {
		return nil, fmt.Errorf("%s: over %d bytes: that is no netrc", path, maxNetrc)
	}
	n, err := parseNetrc(text)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	return n, nil
}

// parseNetrc reads the text of a netrc. Its errors begin with the line's number.
func parseNetrc(text []byte) (netrc, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	s := netrcScanner{text: text, line: 1}
	var n netrc
	for {
		word, line, ok, err := s.next(true)
		if err != nil {
			return nil, err
		}
		if !ok {
			return n, nil
		}
		if word == "default" {
			n = append(n, netrcEntry{})
			continue
		}
		switch word {
		case "machine", "login", "password", "account", "macdef":
		default:
			return nil, fmt.Errorf("%d: want machine, default, login, password, account or macdef (a value with white space is written in double quotes)", line)
		}
		value, _, ok, err := s.next(false)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("%d: %s has no value", line, word)
		}
		switch {
		case word == "machine" && value == "":
			return nil, fmt.Errorf("%d: a machine has no name", line)
		case word == "machine":
			n = append(n, netrcEntry{machine: value})
		case word == "macdef":
			s.skipMacro()
		case len(n) == 0:
			return nil, fmt.Errorf("%d: %s comes before the first machine", line, word)
		case word == "login":
			n[len(n)-1].login = value
		case word == "password":
			n[len(n)-1].password = value
		}
	}
}

type netrcScanner struct {
	text []byte
	line int
}

// next returns the next word and its line; false at the end. Where a comment may be, a "#" begins one, up to the line's end;
// elsewhere it is a character as any other, since passwords begin with it too.
func (s *netrcScanner) next(comments bool) (word string, line int, ok bool, err error) {
	for len(s.text) > 0 {
		switch c := s.text[0]; {
		case c == '\n':
			s.line++
			s.text = s.text[1:]
		case isBlank(c):
			s.text = s.text[1:]
		case c == '#' && comments:
			if i := bytes.IndexByte(s.text, '\n'); i >= 0 {
				s.text = s.text[i:]
			} else {
				s.text = nil
			}
		case c == '"':
			word, err := s.quoted()
			return word, s.line, true, err
		default:
			i := 0
			for i < len(s.text) && s.text[i] != '\n' && !isBlank(s.text[i]) {
				i++
			}
			word, s.text = string(s.text[:i]), s.text[i:]
			return word, s.line, true, nil
		}
	}
	return "", s.line, false, nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// quoted reads a word in double quotes: a backslash stands before a quote or a backslash that is
// meant, and \n, \r and \t are what they are in C. It ends in its line, and white space is behind it.
func (s *netrcScanner) quoted() (string, error) {
	var b strings.Builder
	for i := 1; i < len(s.text) && s.text[i] != '\n'; i++ {
		switch c := s.text[i]; c {
		case '"':
			s.text = s.text[i+1:]
			if len(s.text) > 0 && s.text[0] != '\n' && !isBlank(s.text[0]) {
				return "", fmt.Errorf("%d: want white space behind a value in quotes", s.line)
			}
			return b.String(), nil
		case '\\':
			if i++; i == len(s.text) || s.text[i] == '\n' {
				return "", fmt.Errorf("%d: a value's quotes are not closed", s.line)
			}
			switch c := s.text[i]; c {
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(c)
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("%d: a value's quotes are not closed", s.line)
}

// skipMacro reads over a macro's body, which an empty line ends.
func (s *netrcScanner) skipMacro() {
	for first := true; len(s.text) > 0; first = false {
		end := bytes.IndexByte(s.text, '\n')
		line := s.text
		if end < 0 {
			s.text = nil
		} else {
			line, s.text = s.text[:end], s.text[end+1:]
			s.line++
		}
		if !first && len(bytes.TrimRight(line, "\r")) == 0 { // What is first is the rest of the name's line.
			return
		}
	}
}
