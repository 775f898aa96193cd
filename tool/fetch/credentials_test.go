package fetch

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The test binary is the credential helper too: helperMode says of which kind, helperLog is a file to which it adds
// the URL that it was asked about.
const (
	helperMode = "STRATA_TEST_HELPER"
	helperLog  = "STRATA_TEST_HELPER_LOG"
)

const secret = "s3cr3t"

func TestMain(m *testing.M) {
	if mode := os.Getenv(helperMode); mode != "" && len(os.Args) == 2 && os.Args[1] == "get" {
		os.Exit(beHelper(mode))
	}
	if url := os.Getenv(proxyGet); url != "" {
		os.Exit(beProxied(url))
	}
	os.Exit(m.Run())
}

func beHelper(mode string) int {
	var request struct{ URI string }
	if err := json.NewDecoder(os.Stdin).Decode(&request); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	f, err := os.OpenFile(os.Getenv(helperLog), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 3
	}
	fmt.Fprintln(f, request.URI)
	f.Close()
	calls := strings.Count(read(os.Getenv(helperLog)), "\n")
	token := "Bearer " + secret
	switch mode {
	case "token":
	case "each": // signs each URL
		token = signed(request.URI)
	case "project": // one token for /a, another one for all else
		if u, _ := url.Parse(request.URI); strings.HasPrefix(u.Path, "/a") {
			token += "-a"
		}
	case "renewed":
		token += fmt.Sprintf("-%d", min(calls, 3))
	case "brief":
		fmt.Printf(`{"headers": {"authorization": [%q]}, "expires": %q}`, token, time.Now().Add(time.Second).Format(time.RFC3339))
		return 0
	case "none":
		fmt.Print("{}")
		return 0
	case "none of a header":
		fmt.Print(`{"headers": {"Authorization": []}, "more": 1}`)
		return 0
	case "custom":
		fmt.Printf(`{"headers": {"x-key": [%q], "X-More": ["1", "2"]}}`, secret)
		return 0
	case "fails":
		fmt.Fprint(os.Stderr, "log in first:\n\x1b[31mtool login\n")
		fmt.Print(secret)
		return 7
	case "fails without a word":
		return 1
	case "hangs":
		fmt.Print(secret)
		time.Sleep(time.Hour)
	case "floods":
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat(secret, 1000)); err != nil {
				return 0
			}
		}
	default:
		fmt.Print(mode)
		return 0
	}
	fmt.Printf(`{"headers": {"authorization": [%q]}}`, token)
	return 0
}

func signed(uri string) string { return fmt.Sprintf("Signature %x", sha256.Sum256([]byte(uri))) }

func read(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// useHelper makes the test binary a helper of a mode, and returns its log.
func useHelper(t *testing.T, mode string) (path string, asked func() []string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv(helperMode, mode)
	t.Setenv(helperLog, log)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // or each call would take a second under the race detector
	return exe, func() []string { return strings.Fields(read(log)) }
}

func credentials(t *testing.T, helpers ...string) *Credentials {
	t.Helper()
	c, err := NewCredentials(helpers...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// guarded is a server that wants to see a value of the header Authorization, by path.
func guarded(t *testing.T, want func(r *http.Request) string, code int) string {
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != want(r) {
			http.Error(w, "who are you?", code)
			return
		}
		content([]byte("there"), "")(w, r)
	})
	return url
}

func wants(value string) func(*http.Request) string {
	return func(*http.Request) string { return value }
}

// noNetrc keeps the user's own out of a test.
func noNetrc(t *testing.T) {
	t.Helper()
	t.Setenv("NETRC", filepath.Join(t.TempDir(), "none"))
	t.Setenv(HelperVariable, "")
}

func writeNetrc(t *testing.T, text string) string {
	t.Helper()
	noNetrc(t)
	path := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NETRC", path)
	return path
}

func TestCredentials_Netrc(t *testing.T) {
	url := guarded(t, func(*http.Request) string { return "Basic bWU6aHVudGVyIDI=" /* me:hunter 2 */ }, 401)
	withUser := strings.Replace(url, "://", "://me@", 1)
	for _, tc := range []struct {
		name, netrc, url string
		err              string
	}{
		{name: "machine", netrc: "machine 127.0.0.1 login me password \"hunter 2\"\n"},
		{name: "default", netrc: "machine example.org login other password x\ndefault login me password \"hunter 2\""},
		{name: "of that user", url: withUser, netrc: "machine 127.0.0.1 login other password x\nmachine 127.0.0.1 login me password \"hunter 2\""},
		{name: "in the URL", url: strings.Replace(url, "://", "://me:hunter%202@", 1), netrc: "machine 127.0.0.1 login other password x"},
		{name: "another host's", netrc: "machine example.org login me password \"hunter 2\"", err: "401 Unauthorized; it wants credentials, and there are none for 127.0.0.1"},
		{name: "wrong", netrc: "machine 127.0.0.1 login me password hunter3", err: "401 Unauthorized; with the credentials of "},
		{name: "another user's", url: withUser, netrc: "machine 127.0.0.1 login other password hunter3", err: "with the credentials of the URL"},
		{name: "malformed", netrc: "machine 127.0.0.1 login me password hunter 2", err: "netrc:1: want machine, default, login"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			writeNetrc(t, tc.netrc)
			c, waits := testClient(t, Options{Credentials: credentials(t)})
			if tc.url == "" {
				tc.url = url
			}
			got, err := readAll(t, c, tc.url)
			if tc.err == "" {
				if err != nil || string(got) != "there" {
					t.Fatalf("%q, error %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), "://") {
				t.Fatalf("error %v, want one with %q and the URL", err, tc.err)
			}
			if strings.Contains(err.Error(), "hunter") || len(*waits) > 0 {
				t.Errorf("%d waits; the error may show no password: %v", len(*waits), err)
			}
		})
	}
}

// What is refused says what may help.
func TestCredentials_Hint(t *testing.T) {
	noNetrc(t)
	c, _ := testClient(t, Options{Credentials: credentials(t)})
	for _, code := range []int{401, 403} {
		url, _ := serve(t, status(code))
		_, err := c.Open(t.Context(), url)
		var h interface{ Hint() string }
		if !errors.As(err, &h) || !strings.Contains(h.Hint(), `"machine 127.0.0.1 login USER password PASSWORD" into ~/.netrc`) || !strings.Contains(h.Hint(), "credential helper ($STRATA_CREDENTIAL_HELPER)") {
			t.Errorf("%v: no hint", err)
		}
	}
}

func TestCredentials_Helper(t *testing.T) {
	for _, tc := range []struct {
		name, mode string
		want       func(*http.Request) string
		files      int
		asked      int
		code       int // of what is refused
	}{
		{name: "one token", mode: "token", want: wants("Bearer " + secret), files: 20, asked: 2, code: 401},
		{name: "each URL its own", mode: "each", want: func(r *http.Request) string { return signed("http://" + r.Host + r.URL.String()) }, files: 10, asked: 10, code: 403},
		{name: "one of them is another", mode: "project", want: func(r *http.Request) string {
			if strings.HasPrefix(r.URL.Path, "/a") {
				return "Bearer " + secret + "-a"
			}
			return "Bearer " + secret
		}, files: 4, asked: 2 + 1 + 1, code: 403}, // b1, b2; b3 by what they share; a refuses that; b4 is asked for
		{name: "no credentials are needed", mode: "none", want: wants(""), files: 5, asked: 2, code: 401},
		{name: "empty ones", mode: "none of a header", want: wants(""), files: 5, asked: 2, code: 401},
		{name: "expired at once", mode: "brief", want: wants("Bearer " + secret), files: 4, asked: 4, code: 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			noNetrc(t)
			url := guarded(t, tc.want, tc.code)
			path, asked := useHelper(t, tc.mode)
			c, _ := testClient(t, Options{Credentials: credentials(t, path)})
			names := make([]string, tc.files)
			for i := range names {
				names[i] = fmt.Sprintf("/b%d?x=%d", i+1, i)
			}
			if tc.mode == "project" {
				names = []string{"/b1", "/b2", "/b3", "/a", "/b4"}
			}
			for _, name := range names {
				if got, err := c.Get(t.Context(), url+name, 100); err != nil || string(got) != "there" {
					t.Fatalf("%s: %q, %v", name, got, err)
				}
			}
			if n := len(asked()); n != tc.asked {
				t.Errorf("the helper was asked %d times, want %d: %q", n, tc.asked, asked())
			}
			if asked()[0] != url+names[0] {
				t.Errorf("the helper was asked about %s, want %s", asked()[0], url+names[0])
			}
		})
	}
}

// Many at once ask a helper that knows one token no more often than one after the other.
func TestCredentials_HelperAtOnce(t *testing.T) {
	noNetrc(t)
	url := guarded(t, wants("Bearer "+secret), 401)
	path, asked := useHelper(t, "token")
	c, _ := testClient(t, Options{Credentials: credentials(t, path)})
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			if _, err := c.Get(t.Context(), fmt.Sprintf("%s/%d", url, i), 100); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(asked()); n != 2 {
		t.Errorf("the helper was asked %d times, want 2", n)
	}
}

// A token that the server has had enough of is asked for anew, once.
func TestCredentials_Renewed(t *testing.T) {
	noNetrc(t)
	url := guarded(t, wants("Bearer "+secret+"-2"), 401)
	path, asked := useHelper(t, "renewed")
	c, waits := testClient(t, Options{Credentials: credentials(t, path)})
	if got, err := c.Get(t.Context(), url+"/x", 100); err != nil || string(got) != "there" || len(*waits) > 0 {
		t.Fatalf("%q, %v, %v", got, err, *waits)
	}
	if err := c.Put(t.Context(), url+"/x", strings.NewReader("text"), 4); err != nil {
		t.Error(err)
	}
	if n := len(asked()); n != 2 {
		t.Errorf("the helper was asked %d times, want 2", n)
	}
}

// What isn't there and is answered by 403, as S3 does, has the helper asked once more in all, not each time.
func TestCredentials_MissingBy403(t *testing.T) {
	noNetrc(t)
	url, _ := serve(t, status(403))
	path, asked := useHelper(t, "token")
	c, _ := testClient(t, Options{Credentials: credentials(t, path)})
	for i := range 10 {
		if _, err := c.Get(t.Context(), fmt.Sprintf("%s/%d", url, i), 100); !errors.Is(err, ErrNotFound) {
			t.Errorf("want ErrNotFound, got %v", err)
		}
	}
	if n := len(asked()); n > 3 {
		t.Errorf("the helper was asked %d times, want 3 at most", n)
	}
}

// A helper goes before a netrc, and one that knows nothing leaves it to the netrc.
func TestCredentials_HelperThenNetrc(t *testing.T) {
	writeNetrc(t, "default login me password you")
	for mode, want := range map[string]string{"token": "Bearer " + secret, "none": "Basic bWU6eW91"} {
		url := guarded(t, wants(want), 401)
		path, _ := useHelper(t, mode)
		c, _ := testClient(t, Options{Credentials: credentials(t, path)})
		if got, err := readAll(t, c, url); err != nil || string(got) != "there" {
			t.Errorf("%s: %q, %v", mode, got, err)
		}
	}
}

func TestCredentials_BadHelpers(t *testing.T) {
	noNetrc(t)
	for mode, want := range map[string]string{
		"fails":                                "fails (exit status 7): log in first:  [31mtool login",
		"fails without a word":                 "fails (exit status 1)",
		"hangs":                                "has not answered after ",
		"floods":                               "writes more than 262144 bytes",
		secret:                                 `writes something else than {"headers": {NAME: [VALUE]}}`,
		`{"headers": {"A": "` + secret + `"}}`: "writes something else",
		`{"headers": {"A": ["` + secret + `"]}} more`:                         "writes something else",
		`{"headers": {"A": ["` + secret + `\r\nB: c"]}}`:                      "gives the header A a value with a line break",
		`{"headers": {"` + secret + `:": ["x"]}}`:                             "names a header that can't be one",
		`{"headers": {"": ["x"]}}`:                                            "names a header that can't be one",
		`{"headers": {"host": ["` + secret + `"]}}`:                           "sets the header Host, which is no credential",
		`{"headers": {"range": ["bytes=1-"]}}`:                                "sets the header Range, which is no credential",
		`{"headers": {"x-a": ["1"], "X-A": ["2"]}}`:                           "sets the header X-A twice",
		`{"headers": {"A": ["` + secret + `"]}, "expires": "` + secret + `"}`: "no time by RFC 3339",
	} {
		url, requests := serve(t, content([]byte("x"), ""))
		path, asked := useHelper(t, mode)
		creds := credentials(t, path)
		if mode == "hangs" {
			creds.anyHost.timeout = 500 * time.Millisecond
		}
		c, waits := testClient(t, Options{Credentials: creds})
		_, err := c.Open(t.Context(), url+"/x")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), url) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one with %q, the URL and the helper", mode, err, want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error shows what the helper said: %v", mode, err)
		}
		if requests.Load() != 0 || len(*waits) != 0 || len(asked()) != 1 {
			t.Errorf("%s: %d requests, %d waits, asked %d times; want none and one", mode, requests.Load(), len(*waits), len(asked()))
		}
	}
}

func TestNewCredentials(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flags := []string{at("any"), "cache.example.org=" + at("host"), "*.example.org=" + at("domain"), "*.ORG=" + at("org"), at("second")}
	t.Setenv("PATH", dir)
	at("on-path")
	t.Setenv(HelperVariable, strings.Join([]string{"cache.example.org=" + at("late"), "localhost=on-path"}, string(os.PathListSeparator)))
	c := credentials(t, flags...)
	for host, want := range map[string]string{
		"cache.example.org":     "host",
		"CACHE.example.org":     "host",
		"x.cache.example.org":   "domain",
		"example.org":           "domain",
		"notexample.org":        "org",
		"example.com":           "any",
		"localhost":             "on-path",
		"127.0.0.1":             "any",
		"cache.example.org.com": "any",
	} {
		if got := c.helper(host); got == nil || filepath.Base(got.path) != want {
			t.Errorf("%s: %v, want %s", host, got, want)
		}
	}
	for value, want := range map[string]string{
		filepath.Join(dir, "nowhere"): "no such file",
		"no-such-program-on-the-path": "not found",
		"https://h=" + at("any"):      "want [PATTERN=]PATH",
		"*=" + at("any"):              "want [PATTERN=]PATH",
		"=" + at("any"):               "want [PATTERN=]PATH",
		"a.*.org=" + at("any"):        "want [PATTERN=]PATH",
		"example.org:80=" + at("any"): "want [PATTERN=]PATH",
	} {
		if _, err := NewCredentials(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", value, err, want)
		}
	}
	t.Setenv(HelperVariable, "nowhere=/nowhere")
	if _, err := NewCredentials(); err == nil || !strings.Contains(err.Error(), "$STRATA_CREDENTIAL_HELPER: ") {
		t.Errorf("error %v, want one that names the variable", err)
	}
}

// What one host may see, no other does, whoever says where to go next.
func TestCredentials_RedirectsDontLeak(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for name, values := range r.Header {
			switch name {
			case "User-Agent", "Accept-Encoding", "Content-Length":
			default:
				seen = append(seen, fmt.Sprintf("%s: %s", name, values))
			}
		}
	}
	target, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { note(r) })
	var origin string
	origin, _ = serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/host":
			http.Redirect(w, r, strings.Replace(target, "127.0.0.1", "localhost", 1), http.StatusTemporaryRedirect)
		case "/port":
			http.Redirect(w, r, target, http.StatusTemporaryRedirect)
		case "/user":
			http.Redirect(w, r, strings.Replace(target, "://", "://server:chose@", 1), http.StatusTemporaryRedirect)
		case "/here":
			http.Redirect(w, r, origin+"/end", http.StatusTemporaryRedirect)
		case "/relative":
			http.Redirect(w, r, "end", http.StatusTemporaryRedirect)
		case "/end":
			note(r)
		}
	})
	exe, _ := useHelper(t, "custom")
	for _, way := range []struct {
		name, netrc, url string
		helpers          []string
		headers          int
	}{
		{name: "netrc", netrc: "default login me password " + secret, headers: 1},
		{name: "helper", helpers: []string{exe}, headers: 2},
		{name: "URL", url: strings.Replace(origin, "://", "://me:"+secret+"@", 1), headers: 1},
	} {
		writeNetrc(t, way.netrc)
		if way.url == "" {
			way.url = origin
		}
		c, _ := testClient(t, Options{Credentials: credentials(t, way.helpers...)})
		for path, want := range map[string]int{"/host": 0, "/port": 0, "/user": 0, "/here": way.headers, "/relative": way.headers, "/end": way.headers} {
			for method, send := range map[string]func() error{
				"GET": func() error { _, err := readAll(t, c, way.url+path); return err },
				"PUT": func() error { return c.Put(t.Context(), way.url+path, strings.NewReader(""), 0) },
			} {
				seen = nil
				if err := send(); err != nil {
					t.Errorf("%s %s %s: %v", way.name, method, path, err)
				}
				n := 0
				for _, s := range seen {
					if !strings.HasPrefix(s, "Content-Type") {
						n++
					}
				}
				if n != want {
					t.Errorf("%s %s %s: the server saw %q, want %d headers", way.name, method, path, seen, want)
				}
			}
		}
	}
}

func TestSameOrigin(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"http://h/x", "http://h/y", true},
		{"http://h/x", "http://H:80/y", true},
		{"https://h:443/x", "https://h/y", true},
		{"http://h/x", "https://h/x", true}, // as many servers do
		{"https://h/x", "http://h/x", false},
		{"http://h:8080/x", "https://h/x", false},
		{"http://h:8080/x", "http://h/x", false},
		{"http://h/x", "http://x.h/", false},
		{"http://x.h/x", "http://h/", false},
		{"http://h/x", "https://h:8443/x", false},
	} {
		a, errA := url.Parse(tc.a)
		b, errB := url.Parse(tc.b)
		if errA != nil || errB != nil || sameOrigin(a, b) != tc.same {
			t.Errorf("sameOrigin(%s, %s) = %v", tc.a, tc.b, !tc.same)
		}
	}
}

// From http to https on one host credentials may go, never back.
func TestCredentials_NotToPlainHTTP(t *testing.T) {
	var saw int
	plain, _ := serve(t, func(http.ResponseWriter, *http.Request) { saw++ })
	s := httptest.NewTLSServer(http.RedirectHandler(plain, http.StatusTemporaryRedirect))
	defer s.Close()
	writeNetrc(t, "default login me password "+secret)
	c, _ := testClient(t, Options{Credentials: credentials(t)})
	c.http.Transport.(*http.Transport).TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
	if _, err := c.Open(t.Context(), s.URL); !errors.Is(err, errRedirect) || saw != 0 {
		t.Errorf("error %v, %d requests by plain http", err, saw)
	}
}
