package serve

import (
	"container/list"
	"net"
	"net/http"
	"sync"
	"time"
)

// limiter bounds the requests of each client address: a bucket that holds burst of them and fills by rate a second.
type limiter struct {
	rate, burst float64
	now         func() time.Time

	mu      sync.Mutex
	clients map[string]*list.Element
	recent  list.List // of *bucket, who asked last first
}

type bucket struct {
	client string
	left   float64
	at     time.Time
}

// maxClients bounds the memory. Who hasn't asked for longest is forgotten first, and has by then most likely a full bucket.
const maxClients = 1 << 14

// burstSeconds is for how long a client may ask at once what its rate gives it: an image has many blobs.
const burstSeconds = 10

func newLimiter(perSecond float64) *limiter {
	return &limiter{rate: perSecond, burst: max(perSecond*burstSeconds, 1), now: time.Now, clients: map[string]*list.Element{}}
}

// wait is 0 for a request that may pass, else the time until one may.
func (l *limiter) wait(client string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	e := l.clients[client]
	if e == nil {
		if l.recent.Len() >= maxClients {
			delete(l.clients, l.recent.Remove(l.recent.Back()).(*bucket).client)
		}
		e = l.recent.PushFront(&bucket{client, l.burst, now})
		l.clients[client] = e
	}
	l.recent.MoveToFront(e)
	b := e.Value.(*bucket)
	b.left = min(l.burst, b.left+now.Sub(b.at).Seconds()*l.rate)
	b.at = now
	if b.left < 1 {
		return time.Duration((1 - b.left) / l.rate * float64(time.Second))
	}
	b.left--
	return 0
}

// limited answers 429 to who asks too often.
func limited(next http.Handler, perSecond float64) http.Handler {
	if perSecond <= 0 {
		return next
	}
	l := newLimiter(perSecond)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := l.wait(clientOf(r)); wait > 0 {
			e := Errorf(CodeTooMany, "more than %g requests a second", perSecond)
			e.RetryAfter = max(wait, time.Second)
			writeError(w, r, e)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// clientOf is the address that a request comes from, without the port. What headers say of it anybody can write.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
