package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// The codes of errors that the distribution spec lists.
const (
	CodeBlobUnknown     = "BLOB_UNKNOWN"
	CodeDenied          = "DENIED"
	CodeDigestInvalid   = "DIGEST_INVALID"
	CodeManifestUnknown = "MANIFEST_UNKNOWN"
	CodeNameInvalid     = "NAME_INVALID"
	CodeNameUnknown     = "NAME_UNKNOWN"
	CodeTooMany         = "TOOMANYREQUESTS"
	CodeUnknown         = "UNKNOWN" // what distribution says where nothing else fits
	CodeUnsupported     = "UNSUPPORTED"
	// CodePaginationInvalid is distribution's for a bad n or last.
	CodePaginationInvalid = "PAGINATION_NUMBER_INVALID"
	// CodeTagInvalid is distribution's for what is no tag.
	CodeTagInvalid = "TAG_INVALID"
)

var statuses = map[string]int{
	CodeBlobUnknown:       http.StatusNotFound,
	CodeDenied:            http.StatusForbidden,
	CodeDigestInvalid:     http.StatusBadRequest,
	CodeManifestUnknown:   http.StatusNotFound,
	CodeNameInvalid:       http.StatusBadRequest,
	CodeNameUnknown:       http.StatusNotFound,
	CodeTooMany:           http.StatusTooManyRequests,
	CodeUnknown:           http.StatusInternalServerError,
	CodeUnsupported:       http.StatusMethodNotAllowed,
	CodePaginationInvalid: http.StatusBadRequest,
	CodeTagInvalid:        http.StatusBadRequest,
}

// Error is what a client is told.
type Error struct {
	// Code is one of the codes above; it says the HTTP status too.
	Code string
	// Message is for people. Docker and podman show it.
	Message string
	// Detail is for programs: anything that JSON has a form for; mostly nil.
	Detail any
	// RetryAfter is when to come back; 0: nothing is said.
	RetryAfter time.Duration
	// Err is for the log alone; may be nil.
	Err error
}

// Errorf returns an error of that code.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error is the code with the message, and what the client isn't told.
func (e *Error) Error() string {
	s := e.Code + ": " + e.Message
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// IsUnknown reports whether err says that there is no such repository, manifest or blob.
func IsUnknown(err error) bool {
	var e *Error
	return errors.As(err, &e) && statuses[e.Code] == http.StatusNotFound
}

// asError is err as a client may see it: what a source didn't mean for clients, as names of files on this machine, stays here.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeUnknown, Message: "this failed on the server; its log says why", Err: err}
}

// writeError answers by the error's status and its body (distribution spec, "Error Codes").
func writeError(w http.ResponseWriter, r *http.Request, e *Error) {
	type one struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Detail  any    `json:"detail,omitempty"`
	}
	body, err := json.Marshal(map[string][]one{"errors": {{e.Code, e.Message, e.Detail}}})
	if err != nil {
		body = []byte(`{"errors":[]}`)
	}
	h := w.Header()
	for _, name := range []string{"ETag", "Cache-Control", "Docker-Content-Digest"} {
		h.Del(name)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	if e.Code == CodeUnsupported {
		h.Set("Allow", "GET, HEAD")
	}
	w.WriteHeader(statuses[e.Code])
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}
