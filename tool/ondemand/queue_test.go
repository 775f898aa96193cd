package ondemand

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rules-strata/rules_strata/tool/serve"
)

// A client that asks for everything at once is served in turns with another that asks for little, and gives places up to it.
func TestQueue_FairShare(t *testing.T) {
	q := newQueue(1, 4)
	done, err := q.enter(t.Context(), "greedy")
	if err != nil {
		t.Fatal(err)
	}
	type entered struct {
		client string
		done   func()
	}
	served, refused := make(chan entered, 10), make(chan string, 10)
	wait := func(client string) {
		before, were := q.length(), len(refused)
		go func() {
			done, err := q.enter(t.Context(), client)
			var e *serve.Error
			switch {
			case err == nil:
				served <- entered{client, done}
			case errors.As(err, &e) && e.Code == serve.CodeTooMany && e.RetryAfter > 0:
				refused <- client
			default:
				t.Errorf("%s: %v", client, err)
			}
		}()
		for q.length() == before && len(refused) == were {
			time.Sleep(time.Millisecond)
		}
	}
	for range 4 {
		wait("greedy")
	}
	wait("greedy")
	if got := <-refused; got != "greedy" {
		t.Fatalf("%s was refused", got)
	}
	wait("modest")
	if got := <-refused; got != "greedy" {
		t.Fatalf("%s was refused, to make room for modest", got)
	}
	var order []string
	for range 4 {
		done()
		next := <-served
		order = append(order, next.client)
		done = next.done
	}
	done()
	if got := strings.Join(order, " "); got != "greedy modest greedy greedy" {
		t.Errorf("served in the order %s", got)
	}
	if q.free != 1 || q.waiting != 0 || len(q.turns) != 0 {
		t.Errorf("in the end: %+v", q)
	}
}

// Whoever comes, leaves or is done in whatever order: no more work at once than may, none waits while one could work, no more
// wait than may, and in the end all is free.
func TestQueue_AnyOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		atOnce, places := rapid.IntRange(1, 3).Draw(r, "at once"), rapid.IntRange(0, 5).Draw(r, "places")
		q := newQueue(atOnce, places)
		waiting := map[*waiter]string{}
		working := 0
		settle := func() {
			for w := range waiting {
				select {
				case err := <-w.decided:
					delete(waiting, w)
					if err == nil {
						working++
					}
				default:
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			switch rapid.SampledFrom([]string{"join", "join", "leave", "done"}).Draw(r, "step") {
			case "join":
				client := fmt.Sprint(rapid.IntRange(0, 3).Draw(r, "client"))
				w, err := q.join(client)
				switch {
				case err != nil:
				case w == nil:
					working++
				default:
					waiting[w] = client
				}
			case "leave":
				for w, client := range waiting {
					if !q.leave(client, w) {
						r.Fatalf("one who waits can't leave")
					}
					delete(waiting, w)
					break
				}
			case "done":
				if working > 0 {
					working--
					q.next()
				}
			}
			settle()
			if working > atOnce || len(waiting) > places || len(waiting) > 0 && working < atOnce {
				r.Fatalf("%d work, %d wait; want at most %d and %d", working, len(waiting), atOnce, places)
			}
			if q.waiting != len(waiting) || q.free != atOnce-working {
				r.Fatalf("%+v, but %d wait and %d work", q, len(waiting), working)
			}
		}
		for ; working > 0; settle() {
			working--
			q.next()
		}
		if q.free != atOnce || len(waiting) > 0 || len(q.turns) > 0 {
			r.Fatalf("in the end: %+v", q)
		}
	})
}

// Who leaves while waiting takes nobody's turn with him.
func TestQueue_Leave(t *testing.T) {
	q := newQueue(1, 1)
	done, err := q.enter(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, err := q.enter(ctx, "b"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	done()
	done() // A second time means nothing.
	if q.free != 1 || len(q.turns) > 0 {
		t.Errorf("in the end: %+v", q)
	}
}
