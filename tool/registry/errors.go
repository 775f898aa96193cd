package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Codes of the distribution specification that decide what is done next.
const (
	codeBlobUnknown         = "BLOB_UNKNOWN"
	codeBlobUploadInvalid   = "BLOB_UPLOAD_INVALID"
	codeBlobUploadUnknown   = "BLOB_UPLOAD_UNKNOWN"
	codeDigestInvalid       = "DIGEST_INVALID"
	codeManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN"
	codeRangeInvalid        = "RANGE_INVALID"
	codeSizeInvalid         = "SIZE_INVALID"
	codeDenied              = "DENIED"
	codeUnauthorized        = "UNAUTHORIZED"
)

// statusError is an answer that isn't what was asked for.
type statusError struct {
	status     int
	codes      []string
	text       string // what the registry says, for people
	retryAfter time.Duration
	hint       string
}

func (e *statusError) Error() string {
	s := strings.TrimRight(fmt.Sprintf("the registry answers %d %s", e.status, http.StatusText(e.status)), " ")
	if e.text != "" {
		s += ": " + e.text
	}
	return s
}

// Hint says what may help.
func (e *statusError) Hint() string { return e.hint }

// says reports whether err is an answer with one of these codes.
func says(err error, codes ...string) bool {
	var e *statusError
	return errors.As(err, &e) && slices.ContainsFunc(codes, func(c string) bool { return slices.Contains(e.codes, c) })
}

// status is the status of an answer that is an error, 0 for other errors.
func status(err error) int {
	var e *statusError
	if errors.As(err, &e) {
		return e.status
	}
	return 0
}

// maxText bounds how much is shown of what a registry says, in bytes.
const maxText = 400

func (c *Client) newStatusError(repo name.Repository, resp *http.Response, body []byte) *statusError {
	e := &statusError{status: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	var doc struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Detail  any    `json:"detail"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &doc) == nil {
		var texts []string
		for _, d := range doc.Errors {
			e.codes = append(e.codes, d.Code)
			texts = append(texts, strings.TrimSuffix(strings.TrimSpace(d.Code+": "+d.Message), ":"))
		}
		e.text = c.printable(strings.Join(texts, "; "))
	}
	e.hint = hint(repo, e)
	return e
}

// hint says what may help against a refusal.
func hint(repo name.Repository, e *statusError) string {
	switch {
	case e.status == http.StatusUnauthorized || slices.Contains(e.codes, codeUnauthorized):
		return fmt.Sprintf("log in by `docker login %s` or `podman login %[1]s`, or put the credentials into ~/.netrc", repo.RegistryStr())
	case e.status == http.StatusForbidden || slices.Contains(e.codes, codeDenied):
		return fmt.Sprintf("the credentials for %s may not do this in %s", repo.RegistryStr(), repo.RepositoryStr())
	}
	return ""
}

// printable makes one line of bounded length of what a registry says, without credentials.
func (c *Client) printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = c.guard.secrets.hide(s)
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110, 10.2.3).
func retryAfter(value string, now time.Time) time.Duration {
	if s, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(value); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

var (
	// errStalled is why a silent request is cancelled.
	errStalled = errors.New("the registry went silent")
	// errBroken is an answer that isn't there, or not to its end.
	errBroken = errors.New("the connection broke")
	// errTrouble is an error that may pass, of a registry that broke its word.
	errTrouble = errors.New("the registry breaks its word")
)

// permanentError is an error that trying again won't mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// failure is err as people may see it, of a request or of the login.
func (c *Client) failure(ctx context.Context, err error, repo name.Repository) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	for {
		u, ok := err.(*url.Error)
		if !ok {
			break
		}
		err = u.Err // url.Error quotes the URL, whose query may be a credential.
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errBroken
	}
	if err.Error() == "http: server gave HTTP response to HTTPS client" {
		return permanentError{&plainHTTPError{repo.RegistryStr()}}
	}
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return &certificateError{repo.RegistryStr(), cert}
	}
	var answer *transport.Error
	if errors.As(err, &answer) { // of the login
		e := &statusError{status: answer.StatusCode}
		var texts []string
		for _, d := range answer.Errors {
			e.codes = append(e.codes, string(d.Code))
			texts = append(texts, string(d.Code)+": "+d.Message)
		}
		e.text = c.printable(strings.Join(texts, "; "))
		e.hint = hint(repo, e)
		return e
	}
	if text := err.Error(); strings.Contains(text, "no token in bearer response") {
		return permanentError{errors.New("the registry's token server answers without a token")} // The error quotes all of the answer.
	} else if hidden := c.guard.secrets.hide(text); hidden != text {
		return permanentError{errors.New(hidden)}
	}
	return err
}

// certificateError is a registry whose certificate isn't taken.
type certificateError struct {
	registry string
	err      *tls.CertificateVerificationError
}

func (e *certificateError) Error() string {
	return fmt.Sprintf("the certificate of %s can't be trusted: %v", e.registry, e.err.Err)
}

func (e *certificateError) Unwrap() error { return e.err }

// Hint says what may help.
func (e *certificateError) Hint() string {
	if errors.As(e.err, new(x509.UnknownAuthorityError)) {
		return "if its authority is one of yours, name the authority's certificate by --ca-file, or $SSL_CERT_FILE"
	}
	return ""
}

// temporary reports whether err may pass.
func temporary(err error) bool {
	var status *statusError
	var permanent permanentError
	var cert *tls.CertificateVerificationError
	var dns *net.DNSError
	switch {
	case errors.As(err, &permanent), errors.As(err, &cert):
		return false
	case errors.As(err, &status):
		switch status.status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
			return true
		case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusInsufficientStorage:
			return false
		}
		return status.status >= 500
	case errors.As(err, &dns):
		return !dns.IsNotFound
	}
	return true
}
