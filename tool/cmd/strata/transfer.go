package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/rules-strata/rules_strata/tool/registry"
)

// transfer shows blobs on their way. On a terminal: a line for each that is under way, with its bytes and rate, and a total
// below. Elsewhere, as in CI: a plain line when one is over. Quiet: nothing.
type transfer struct {
	console
	mu    sync.Mutex
	shown time.Time
	lines int // on the terminal now
	order []digest.Digest
	blobs map[digest.Digest]*onTheWay
	moved int64
}

// onTheWay is what is known of one blob.
type onTheWay struct {
	registry.Event
	begun time.Time
}

func newTransfer(c console) *transfer {
	return &transfer{console: c, blobs: map[digest.Digest]*onTheWay{}}
}

// verbs are what is said of a blob.
var verbs = map[registry.State]string{
	registry.Sending: "sending", registry.Sent: "sent", registry.There: "there", registry.Mounted: "mounted",
	registry.Receiving: "receiving", registry.Received: "received", registry.Absent: "left where it is",
}

// show takes note of what is new.
func (t *transfer) show(e registry.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.blobs[e.Descriptor.Digest]
	if b == nil {
		b = &onTheWay{begun: time.Now()}
		t.blobs[e.Descriptor.Digest] = b
		t.order = append(t.order, e.Descriptor.Digest)
	}
	under := e.State == registry.Sending || e.State == registry.Receiving
	if e.State != registry.There && e.State != registry.Mounted && e.State != registry.Absent {
		t.moved += e.Done - b.Done
	}
	b.Event = e
	switch {
	case t.quiet:
	case t.terminal:
		if !under || time.Since(t.shown) >= progressInterval {
			t.draw()
		}
	case e.State == registry.Sent || e.State == registry.Received || e.State == registry.Mounted:
		fmt.Fprintf(t.w, "strata: %s %s\n", verbs[e.State], t.line(b))
	}
}

// line says how far a blob is.
func (t *transfer) line(b *onTheWay) string {
	d := b.Descriptor
	short := d.Digest.String()
	if len(short) > 19 {
		short = short[:19]
	}
	s := fmt.Sprintf("%s  %s", short, formatBytes(d.Size))
	switch b.State {
	case registry.Sending, registry.Receiving:
		return fmt.Sprintf("%s  %s of %s  %s", short, formatBytes(b.Done), formatBytes(d.Size), rate(b.Done, time.Since(b.begun)))
	case registry.Sent, registry.Received:
		return s + "  " + rate(d.Size, time.Since(b.begun))
	}
	return s
}

// draw puts the lines on the terminal in place of those that are there.
func (t *transfer) draw() {
	t.shown = time.Now()
	var out strings.Builder
	t.erase(&out)
	over, n := 0, 0
	for _, d := range t.order {
		b := t.blobs[d]
		if b.State != registry.Sending && b.State != registry.Receiving {
			over++
			continue
		}
		if n++; n <= maxLines {
			out.WriteString(t.cut(fmt.Sprintf("  %-9s %s", verbs[b.State], t.line(b))) + "\n")
			t.lines++
		}
	}
	out.WriteString(t.cut(fmt.Sprintf("  %d of %d blobs, %s, %s", over, len(t.order), formatBytes(t.moved), rate(t.moved, time.Since(t.start)))) + "\n")
	t.lines++
	io.WriteString(t.w, out.String())
}

// maxLines is how many blobs are shown at once.
const maxLines = 8

func (t *transfer) erase(out *strings.Builder) {
	for ; t.lines > 0; t.lines-- {
		out.WriteString("\x1b[A\x1b[2K")
	}
}

// end takes the lines off the terminal, and says a last word; what is empty isn't said.
func (t *transfer) end(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out strings.Builder
	t.erase(&out)
	if format != "" && !t.quiet {
		fmt.Fprintf(&out, "strata: "+format+"\n", args...)
	}
	io.WriteString(t.w, out.String())
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// rate is n bytes in a time, as people read it.
func rate(n int64, d time.Duration) string {
	if d < time.Millisecond {
		d = time.Millisecond
	}
	return formatBytes(int64(float64(n)/d.Seconds())) + "/s"
}
