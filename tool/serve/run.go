package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// Options say how [Run] serves.
type Options struct {
	// Source has the images.
	Source Source
	// Rate is how many requests a second each client address may make, with as many at once as in ten seconds; 0: no limit.
	Rate float64
	// MaxConnections is how many connections are open at once; others wait. 0: no limit.
	MaxConnections int
	// Grace is how long requests that run may go on when the server is told to stop.
	Grace time.Duration
	// Log, if set, is told of each request that is over. It is called by many goroutines at once.
	Log func(Event)
}

// Event is a request that is over.
type Event struct {
	Time     time.Time
	Client   string
	Method   string
	Path     string // as the client wrote it: it may hold anything
	Status   int    // of the answer, or StatusGone
	Bytes    int64  // of the body
	Duration time.Duration
	// Err is what went wrong, in more words than the client was told; nil if nothing did.
	Err error
}

// StatusGone is the status of a request whose client didn't wait for the answer; nginx, too, calls it so.
const StatusGone = 499

var (
	errGone     = errors.New("the client has gone")
	errStopping = errors.New("the server stops")
)

// Limits of a connection. None is on how long an answer takes: images are made while their manifests are waited for.
const (
	headerTimeout = 10 * time.Second // for the whole of a request's header
	idleTimeout   = 2 * time.Minute  // between two requests
	stallTimeout  = time.Minute      // for a client to take what it was sent last
	bodyTimeout   = time.Second      // for what nobody reads
	maxHeader     = 64 << 10         // bytes
)

// Run serves on l until ctx ends. Then it takes no more connections, lets the requests that run come to their end for
// o.Grace, and cuts those off that are left. It returns nil, unless l fails before. It closes l.
func Run(ctx context.Context, l net.Listener, o Options) error {
	// Requests outlive ctx by the grace.
	requests, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(errStopping)
	if o.MaxConnections > 0 {
		l = &limitListener{Listener: l, slots: make(chan struct{}, o.MaxConnections), closed: make(chan struct{})}
	}
	s := &http.Server{
		Handler:           logged(limited(NewHandler(o.Source), o.Rate), o.Log),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          log.New(io.Discard, "", 0), // connections that break, mostly
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), o.Grace)
	defer cancel()
	err := s.Shutdown(grace)
	cut(errStopping)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close()
	}
	return err
}

// logged tells of each request, and watches that clients take what they are sent.
func logged(next http.Handler, tell func(Event)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answer{ResponseWriter: w, control: http.NewResponseController(w)}
		e := Event{Time: time.Now(), Client: clientOf(r), Method: r.Method, Path: r.RequestURI}
		if r.ContentLength != 0 { // Nobody reads a body, and nobody waits for it.
			a.control.SetReadDeadline(e.Time.Add(bodyTimeout))
			w.Header().Set("Connection", "close")
		}
		defer func() {
			e.Status, e.Bytes, e.Duration, e.Err = a.status, a.n, time.Since(e.Time), cmp.Or(a.err, a.writeErr)
			broken := recover()
			switch {
			case broken != nil:
				e.Status, e.Err = http.StatusInternalServerError, fmt.Errorf("panic: %v\n%s", broken, debug.Stack())
			case errors.Is(e.Err, context.Canceled) && context.Cause(r.Context()) == context.Canceled:
				e.Status, e.Err = StatusGone, errGone
			}
			if tell != nil {
				tell(e)
			}
			if broken != nil {
				panic(http.ErrAbortHandler) // The client sees that there is no more.
			}
		}()
		next.ServeHTTP(a, r)
	})
}

// answer is a response as it is written.
type answer struct {
	http.ResponseWriter
	control  *http.ResponseController
	deadline time.Time
	status   int
	n        int64
	err      error // of the handler
	writeErr error
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) failed(err error) { a.err = err }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.patience()
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	a.patience()
	n, err := a.ResponseWriter.Write(p)
	a.n += int64(n)
	if a.writeErr == nil {
		a.writeErr = err
	}
	return n, err
}

// patience puts off the time at which a client counts as gone. It isn't done for each write, since it costs as much as one.
func (a *answer) patience() {
	if now := time.Now(); a.deadline.Sub(now) < stallTimeout*3/4 {
		a.deadline = now.Add(stallTimeout)
		a.control.SetWriteDeadline(a.deadline)
	}
}

// limitListener accepts no connection while so many are open.
type limitListener struct {
	net.Listener
	slots  chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitConn{Conn: c, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitConn struct {
	net.Conn
	release func()
}

func (c *limitConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
