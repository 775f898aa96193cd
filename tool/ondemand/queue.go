package ondemand

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rules-strata/rules_strata/tool/serve"
)

// queue lets a few work at once. Who waits is served fairly: the clients' turns come one after the other, whoever has how many
// waiting; and when the places to wait are taken, the client that has most of them loses one to a client that has less.
type queue struct {
	mu      sync.Mutex
	free    int // how many more may work
	places  int // how many may wait
	waiting int
	// turns are the clients that have somebody waiting, the next one first.
	turns []*turns
}

// turns are those who wait for one client, in their order.
type turns struct {
	client  string
	waiters []*waiter
}

type waiter struct {
	// decided gets nil when it is the waiter's turn, or why it never will be. It has room for the one word.
	decided chan error
}

func newQueue(atOnce, places int) *queue { return &queue{free: atOnce, places: places} }

// enter waits for the client's turn. Who gets it calls done when the work is over. Where too many wait, it is an error.
func (q *queue) enter(ctx context.Context, client string) (done func(), err error) {
	w, err := q.join(client)
	if err != nil {
		return nil, err
	}
	if w != nil {
		select {
		case err := <-w.decided:
			if err != nil {
				return nil, err
			}
		case <-ctx.Done():
			if !q.leave(client, w) && <-w.decided == nil {
				q.next() // The turn came just then.
			}
			return nil, context.Cause(ctx)
		}
	}
	return sync.OnceFunc(q.next), nil
}

// join returns nil where nobody has to wait.
func (q *queue) join(client string) (*waiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.free > 0 {
		q.free--
		return nil, nil
	}
	own := q.of(client)
	if q.waiting >= q.places {
		most := own
		for _, t := range q.turns {
			if most == nil || len(t.waiters) > len(most.waiters) {
				most = t
			}
		}
		has := 0
		if own != nil {
			has = len(own.waiters)
		}
		if most == nil || len(most.waiters) <= has+1 {
			return nil, q.full()
		}
		last := most.waiters[len(most.waiters)-1]
		q.remove(most, last)
		last.decided <- q.full()
	}
	if own == nil {
		own = &turns{client: client}
		q.turns = append(q.turns, own)
	}
	w := &waiter{make(chan error, 1)}
	own.waiters = append(own.waiters, w)
	q.waiting++
	return w, nil
}

// full is what who is turned away is told.
func (q *queue) full() error {
	e := serve.Errorf(serve.CodeTooMany, "%d images wait to be made", q.places)
	e.RetryAfter = retryAfter
	return e
}

// retryAfter is when who was turned away may come back.
const retryAfter = 10 * time.Second

// next hands the turn of who is done to the next client.
func (q *queue) next() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.turns) == 0 {
		q.free++
		return
	}
	t := q.turns[0]
	w := t.waiters[0]
	q.remove(t, w)
	if len(t.waiters) > 0 { // The others of this client come behind those of all others.
		q.turns = append(q.turns[1:], t)
	}
	w.decided <- nil
}

// leave gives the waiter's place up; false if the word on it has been spoken.
func (q *queue) leave(client string, w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.of(client)
	if t == nil || !slices.Contains(t.waiters, w) {
		return false
	}
	q.remove(t, w)
	return true
}

// of returns the client's turns; nil if it has nobody waiting.
func (q *queue) of(client string) *turns {
	if i := slices.IndexFunc(q.turns, func(t *turns) bool { return t.client == client }); i >= 0 {
		return q.turns[i]
	}
	return nil
}

func (q *queue) remove(t *turns, w *waiter) {
	t.waiters = slices.DeleteFunc(t.waiters, func(o *waiter) bool { return o == w })
	q.waiting--
	if len(t.waiters) == 0 {
		q.turns = slices.DeleteFunc(q.turns, func(o *turns) bool { return o == t })
	}
}

// length is how many wait.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}
