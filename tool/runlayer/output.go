package runlayer

import (
	"fmt"
	"sync"
)

// What is kept of a program's output, in bytes: the beginning, and the end.
const (
	maxHead = 16 << 10
	maxTail = 48 << 10
)

// output keeps the beginning and the end of what is written to it. Its methods may be called at the same time.
type output struct {
	mu   sync.Mutex
	head []byte
	tail []byte // the last bytes behind the head; up to twice maxTail
	lost int64  // bytes between them
}

// Write implements [io.Writer]. It never fails.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(p)
	if room := maxHead - len(o.head); room > 0 {
		take := min(room, len(p))
		o.head = append(o.head, p[:take]...)
		p = p[take:]
	}
	if len(p) > maxTail {
		o.lost += int64(len(p) - maxTail)
		p = p[len(p)-maxTail:]
	}
	o.tail = append(o.tail, p...)
	if over := len(o.tail) - maxTail; over > maxTail {
		o.cut(over)
	}
	return n, nil
}

func (o *output) cut(over int) {
	o.lost += int64(over)
	o.tail = append(o.tail[:0], o.tail[over:]...)
}

// Bytes is what was kept, with a note where something is missing.
func (o *output) Bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if over := len(o.tail) - maxTail; over > 0 {
		o.cut(over)
	}
	out := append([]byte{}, o.head...)
	if o.lost > 0 {
		out = fmt.Appendf(out, "\n[%d bytes are left out]\n", o.lost)
	}
	return append(out, o.tail...)
}
