package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// helperTimeout is how long a helper may take. Some ask a person.
	helperTimeout = time.Minute
	// maxHelperOutput is how much a helper may say, in bytes, and maxHelperMessage how much of its standard error is shown.
	maxHelperOutput  = 256 << 10
	maxHelperMessage = 1 << 10
	// maxHelpersAtOnce bounds the processes that ask for different URLs of one host.
	maxHelpersAtOnce = 8
	// renewBefore is how long before they expire headers are no longer used.
	renewBefore = 10 * time.Second
)

// helper is a program that knows the headers that a URL wants to see, by the protocol of Bazel's credential helpers
// (github.com/EngFlow/credential-helper-spec): called with the argument "get" it reads {"uri": …}
// and writes {"headers": {NAME: [VALUE, …]}, "expires": TIME}.
type helper struct {
	path    string
	timeout time.Duration
	slots   chan struct{} // one for each that may run at once

	mu      sync.Mutex
	origins map[string]*helperAnswers
}

// helperAnswers are what a helper said for URLs of one origin.
//
// A helper is asked by URL, and some mean it (Amazon's S3 wants each URL signed); most know one token for a host, and take a
// second to find it. So the first two URLs are asked for one after the other, and where the
// helper says the same of both, it is taken to mean all of the origin, until a server refuses that.
type helperAnswers struct {
	mu sync.Mutex
	// asked is for how many URLs the helper was asked, one after the other.
	asked int
	// last is its last answer, about the URL lastURL.
	last    *helperAnswer
	lastURL string
	// shared: last holds for every URL. sure: a server refused it, and the helper said the same again.
	shared, sure bool
	// apart: it must be asked for each URL.
	apart bool
}

// helperAnswer is what a helper said. The headers are never shown to people.
type helperAnswer struct {
	headers http.Header
	expires time.Time // zero: never
}

func (a *helperAnswer) fresh() bool {
	return a.expires.IsZero() || time.Until(a.expires) > renewBefore
}

func (a *helperAnswer) equal(b *helperAnswer) bool {
	return maps.EqualFunc(a.headers, b.headers, slices.Equal)
}

// newHelper returns the helper that path names: a file, or a program on the PATH.
func newHelper(path string) (*helper, error) {
	found, err := exec.LookPath(path)
	if err != nil {
		var why *exec.Error
		if errors.As(err, &why) {
			err = why.Err
		}
		return nil, fmt.Errorf("credential helper %s: %w", path, err)
	}
	return &helper{path: found, timeout: helperTimeout, slots: make(chan struct{}, maxHelpersAtOnce), origins: map[string]*helperAnswers{}}, nil
}

func (h *helper) origin(u *url.URL) *helperAnswers {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.origins[origin(u)]
	if o == nil {
		o = &helperAnswers{}
		h.origins[origin(u)] = o
	}
	return o
}

// get returns the headers for u.
func (h *helper) get(ctx context.Context, u *url.URL) (*helperAnswer, error) {
	o, uri := h.origin(u), u.String()
	o.mu.Lock()
	if (o.shared || uri == o.lastURL) && o.last.fresh() {
		defer o.mu.Unlock()
		return o.last, nil
	}
	if o.apart || o.asked >= 2 && !o.shared {
		o.mu.Unlock()
		return h.ask(ctx, u)
	}
	defer o.mu.Unlock() // Whoever comes meanwhile waits, and will most likely need to ask no more.
	a, err := h.ask(ctx, u)
	if err != nil {
		return nil, err
	}
	if uri != o.lastURL {
		o.shared = o.shared || o.asked > 0 && a.equal(o.last)
		o.asked++
	}
	o.last, o.lastURL = a, uri
	return a, nil
}

// again returns other headers for u, whose server has refused those of used; nil if the helper knows no others.
func (h *helper) again(ctx context.Context, u *url.URL, used *helperAnswer, status int) (*helperAnswer, error) {
	o := h.origin(u)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shared && !o.last.equal(used) && o.last.fresh() { // Somebody was here before.
		return o.last, nil
	}
	if o.sure && status == http.StatusForbidden { // As S3 says of what isn't there.
		return nil, nil
	}
	a, err := h.ask(ctx, u)
	switch {
	case err != nil:
		return nil, err
	case a.equal(used):
		o.sure = true
		return nil, nil
	case !o.shared:
		o.last, o.lastURL = a, u.String()
	case status == http.StatusUnauthorized: // The old ones were revoked, most likely.
		o.last = a
	default:
		o.shared, o.apart = false, true
		o.last, o.lastURL = a, u.String()
	}
	return a, nil
}

// ask runs the helper. What it wrote is in no error, except that what a helper which fails
// writes to its standard error is for people.
func (h *helper) ask(ctx context.Context, u *url.URL) (*helperAnswer, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	bare := *u
	bare.User, bare.Fragment, bare.RawFragment = nil, "", ""
	request, err := json.Marshal(map[string]string{"uri": bare.String()})
	if err != nil {
		return nil, err
	}
	runCtx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	stdout := &cappedBuffer{limit: maxHelperOutput, full: cancel}
	stderr := &cappedBuffer{limit: maxHelperMessage}
	cmd := exec.CommandContext(runCtx, h.path, "get")
	cmd.Stdin = bytes.NewReader(append(request, '\n'))
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = time.Second // for the helper's own children that keep its pipes open
	err = cmd.Run()

	bad := func(format string, args ...any) error {
		return permanentError{fmt.Errorf("the credential helper %s "+format, append([]any{h.path}, args...)...)}
	}
	// Whether the helper reads its standard input is up to it.
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case stdout.over:
		return nil, bad("writes more than %d bytes", maxHelperOutput)
	case runCtx.Err() != nil:
		return nil, bad("has not answered after %v", h.timeout)
	case errors.As(err, &exit):
		message := strings.TrimSpace(string(stderr.kept))
		if message == "" {
			return nil, bad("fails (%v)", exit)
		}
		return nil, bad("fails (%v): %s", exit, printable(message))
	case err != nil && cmd.ProcessState == nil:
		return nil, bad("doesn't run: %w", err)
	}
	a, err := parseHelperAnswer(stdout.kept)
	if err != nil {
		return nil, bad("%w", err)
	}
	return a, nil
}

// cappedBuffer keeps limit bytes of what is written to it. What is over is left out, after full is called.
type cappedBuffer struct {
	kept  []byte
	limit int
	over  bool
	full  func() // may be nil
}

func (b *cappedBuffer) Write(p []byte) (int, error) {
	room := min(len(p), b.limit-len(b.kept))
	b.kept = append(b.kept, p[:room]...)
	if room < len(p) && !b.over {
		b.over = true
		if b.full != nil {
			b.full()
		}
	}
	return len(p), nil
}

// printable makes one line of what a program says.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// ownHeaders are those that a helper can't set, since they say what is asked for and how.
var ownHeaders = []string{
	"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Range", "Expect", "Host", "If-Match", "If-Modified-Since",
	"If-None-Match", "If-Range", "If-Unmodified-Since", "Keep-Alive", "Range", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// parseHelperAnswer reads what a helper wrote. No error quotes any of it but a header's name.
func parseHelperAnswer(text []byte) (*helperAnswer, error) {
	var raw struct {
		Headers map[string][]string `json:"headers"`
		Expires string              `json:"expires"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, errors.New(`writes something else than {"headers": {NAME: [VALUE]}}`)
	}
	a := &helperAnswer{headers: http.Header{}}
	for name, values := range raw.Headers {
		if len(values) == 0 {
			continue
		}
		key := textproto.CanonicalMIMEHeaderKey(name)
		if !tokenPattern.MatchString(name) {
			return nil, errors.New("names a header that can't be one")
		}
		if slices.Contains(ownHeaders, key) {
			return nil, fmt.Errorf("sets the header %s, which is no credential", key)
		}
		for _, v := range values {
			if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				return nil, fmt.Errorf("gives the header %s a value with a line break or another control character", key)
			}
		}
		if a.headers[key] != nil { // in another case
			return nil, fmt.Errorf("sets the header %s twice", key)
		}
		a.headers[key] = values
	}
	if raw.Expires != "" {
		var err error
		if a.expires, err = time.Parse(time.RFC3339, raw.Expires); err != nil {
			return nil, errors.New("says that its headers expire at something that is no time by RFC 3339")
		}
	}
	return a, nil
}

// tokenPattern is a header's name (RFC 9110, 5.6.2).
var tokenPattern = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
