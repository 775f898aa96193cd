package ondemand

import (
	"errors"
	"sync"
	"time"

	"github.com/rules-strata/rules_strata/tool/serve"
)

// Limits of what is remembered of images that can't be made.
const (
	refusalTime = time.Minute
	maxRefusals = 1 << 12
)

// refusals remembers for a while which images can't be made, and why: to find out costs a closure's worth of requests and of
// signatures to check. What went wrong by itself, as of the network, isn't remembered.
type refusals struct {
	mu   sync.Mutex
	last map[string]refusal // by the image's key
}

type refusal struct {
	err   error
	until time.Time
}

// of returns why an image can't be made; nil if nothing is known against it.
func (r *refusals) of(key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.last[key]
	if !ok {
		return nil
	}
	if time.Now().After(known.until) {
		delete(r.last, key)
		return nil
	}
	return known.err
}

// remember keeps err if it is meant for clients and holds for who asks again.
func (r *refusals) remember(key string, err error) {
	var e *serve.Error
	if !errors.As(err, &e) || e.Code == serve.CodeTooMany {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil || len(r.last) >= maxRefusals {
		r.last = map[string]refusal{}
	}
	r.last[key] = refusal{err, time.Now().Add(refusalTime)}
}
