package fetch

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var netrcs = []struct {
	name, text string
	want       netrc
	err        string
	// notCurl: curl of some version reads it otherwise.
	notCurl bool
}{
	{name: "empty"},
	{name: "one line", text: "machine h login l password p\n", want: netrc{{"h", "l", "p"}}},
	{name: "no newline", text: "machine h login l password p", want: netrc{{"h", "l", "p"}}},
	{name: "many lines", text: "machine\n\th\nlogin\r\n l \n\n password\n p", want: netrc{{"h", "l", "p"}}, notCurl: true},
	{name: "several", text: "machine other login x password y\nmachine h login l password p\ndefault login d password e", want: netrc{{"other", "x", "y"}, {"h", "l", "p"}, {"", "d", "e"}}},
	{name: "any order", text: "machine h password p account a login l", want: netrc{{"h", "l", "p"}}},
	{name: "quotes", text: `machine h login "l" password "a \"b\" \\ c"`, want: netrc{{"h", "l", `a "b" \ c`}}},
	{name: "letters behind a backslash", text: `machine h login l password "a\nb\rc\td\x"`, want: netrc{{"h", "l", "a\nb\rc\tdx"}}},
	{name: "quotes inside", text: `machine h login l password p"q"`, want: netrc{{"h", "l", `p"q"`}}},
	{name: "backslash without quotes", text: `machine h login l password p\n`, want: netrc{{"h", "l", `p\n`}}, notCurl: true},
	{name: "comments", text: "# machine x\n  # more\nmachine h # login x\nlogin l password p # end", want: netrc{{"h", "l", "p"}}},
	{name: "password that begins with #", text: "machine h login l password #p", want: netrc{{"h", "l", "#p"}}, notCurl: true},
	{name: "password that is a word", text: "machine h login machine password default", want: netrc{{"h", "machine", "default"}}},
	{name: "macro", text: "machine h login l password p\nmacdef init\ncd /pub\nmachine x login y\n\nmachine i login m password n", want: netrc{{"h", "l", "p"}, {"i", "m", "n"}}},
	{name: "macro, CR LF", text: "macdef init\r\ncd /pub\r\n\r\nmachine h login l password p\r\n", want: netrc{{"h", "l", "p"}}, notCurl: true},
	{name: "macro up to the end", text: "machine h login l password p\nmacdef init\nbye", want: netrc{{"h", "l", "p"}}},
	{name: "byte order mark", text: "\ufeffmachine h login l password p", want: netrc{{"h", "l", "p"}}, notCurl: true},
	{name: "login only", text: "machine h login l", want: netrc{{"h", "l", ""}}, notCurl: true},
	{name: "empty password", text: `machine h login l password ""`, want: netrc{{"h", "l", ""}}, notCurl: true},

	{name: "unknown word", text: "machine h\nuser secret", err: "2: want machine, default, login,"},
	{name: "password of two words", text: "machine h login l password se cret", err: "1: want machine, default"},
	{name: "no value", text: "machine h login l\npassword\n\n", err: "2: password has no value"},
	{name: "nothing before", text: "\n\nlogin l", err: "3: login comes before the first machine"},
	{name: "machine without a name", text: `machine "" login l`, err: "1: a machine has no name"},
	{name: "quotes not closed", text: "machine h login l password \"secret\nmachine i", err: "1: a value's quotes are not closed"},
	{name: "backslash at the end", text: `machine h login l password "secret\`, err: "1: a value's quotes are not closed"},
	{name: "more behind the quotes", text: `machine h login l password "sec"ret`, err: "1: want white space behind a value in quotes"},
	{name: "JSON", text: `{"machine": "h", "password": "secret"}`, err: "1: want machine, default"},
}

func TestParseNetrc(t *testing.T) {
	for _, tc := range netrcs {
		got, err := parseNetrc([]byte(tc.text))
		if tc.err == "" {
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%s: %q, %v; want %q", tc.name, got, err, tc.want)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), tc.err) && !strings.Contains(err.Error(), ": "+tc.err) {
			t.Errorf("%s: error %v, want %q", tc.name, err, tc.err)
		}
		if err != nil && (strings.Contains(err.Error(), "sec") || strings.Contains(err.Error(), "ret")) {
			t.Errorf("%s: the error shows what is in the file: %v", tc.name, err)
		}
	}
}

// Real curl sends what we would send.
func TestParseNetrc_AsCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl on the PATH")
	}
	var got string
	url, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		got = fmt.Sprintf("%q %q %v", user, password, ok)
	})
	for _, tc := range netrcs {
		if tc.err != "" || tc.notCurl {
			continue
		}
		text := strings.ReplaceAll(tc.text, "machine h", "machine 127.0.0.1")
		text = strings.ReplaceAll(text, "\th\n", "\t127.0.0.1\n")
		path := filepath.Join(t.TempDir(), "netrc")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(curl, "-sS", "--noproxy", "*", "--netrc-file", path, url).CombinedOutput(); err != nil {
			t.Errorf("%s: curl: %v: %s", tc.name, err, out)
			continue
		}
		n, err := parseNetrc([]byte(text))
		e, ok := n.find("127.0.0.1", "")
		if want := fmt.Sprintf("%q %q %v", e.login, e.password, ok); err != nil || got != want {
			t.Errorf("%s: curl sends %s, we %s (%v)", tc.name, got, want, err)
		}
	}
}

func TestReadNetrc(t *testing.T) {
	dir := t.TempDir()
	if n, err := readNetrc(filepath.Join(dir, "none")); n != nil || err != nil {
		t.Errorf("no file: %v, %v", n, err)
	}
	if n, err := readNetrc(""); n != nil || err != nil {
		t.Errorf("no path: %v, %v", n, err)
	}
	if _, err := readNetrc(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a folder: %v", err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, maxNetrc+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readNetrc(big); err == nil || !strings.Contains(err.Error(), "that is no netrc") {
		t.Errorf("a large file: %v", err)
	}
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("\nsecret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readNetrc(bad); err == nil || !strings.HasPrefix(err.Error(), bad+":2: want") {
		t.Errorf("a malformed file: %v", err)
	}
}

func TestNetrcPath(t *testing.T) {
	t.Setenv("NETRC", "/some/where")
	if p := netrcPath(); p != "/some/where" {
		t.Errorf("with NETRC: %s", p)
	}
	t.Setenv("NETRC", "")
	t.Setenv("HOME", "/home/me")
	t.Setenv("USERPROFILE", "/home/me")
	if p := netrcPath(); p != filepath.Join("/home/me", ".netrc") {
		t.Errorf("with HOME: %s", p)
	}
	t.Setenv("HOME", "")
	t.Setenv("USERPROFILE", "")
	if p := netrcPath(); p != "" {
		t.Errorf("with nothing: %s", p)
	}
}

// What is written in quotes comes back, and nothing panics.
func FuzzNetrc(f *testing.F) {
	for _, tc := range netrcs {
		f.Add([]byte(tc.text))
	}
	quote := strings.NewReplacer("\\", "\\\\", "\"", "\\\"", "\n", "\\n", "\r", "\\r", "\t", "\\t").Replace
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := parseNetrc(text)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, e := range n {
			if e.machine == "" {
				b.WriteString("default")
			} else {
				fmt.Fprintf(&b, "machine \"%s\"", quote(e.machine))
			}
			fmt.Fprintf(&b, " login \"%s\" password \"%s\"\n", quote(e.login), quote(e.password))
		}
		if again, err := parseNetrc([]byte(b.String())); err != nil || !reflect.DeepEqual(again, n) {
			t.Errorf("%q is read as %q, and that written as %q, read as %q, %v", text, n, b.String(), again, err)
		}
	})
}

// Whatever a helper writes, headers that come of it are ones that can be sent, and none is ours.
func FuzzHelperAnswer(f *testing.F) {
	for _, s := range []string{"", "{}", `{"headers": {"Authorization": ["Bearer x"]}, "expires": "2030-01-01T00:00:00Z"}`, `{"headers": {"host": ["x"]}}`, `{"headers": {"A": ["x\r\nB: y"]}}`, `{"headers": null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parseHelperAnswer(text)
		if err != nil {
			return
		}
		req, err := http.NewRequest("GET", "http://h/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = a.headers
		var b strings.Builder
		if err := req.Write(&b); err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(b.String(), "\r\n\r\n"), "\r\n") {
			if strings.ContainsAny(line, "\r\n") {
				t.Errorf("%q makes the line %q", text, line)
			}
		}
		lines := 3 // GET, Host, User-Agent
		for name, values := range a.headers {
			if name == "User-Agent" {
				lines--
			}
			lines += len(values)
		}
		if n := strings.Count(b.String(), "\r\n") - 1; n != lines && a.headers["User-Agent"] == nil {
			t.Errorf("%q makes %d lines, want %d: %q", text, n, lines, b.String())
		}
	})
}
