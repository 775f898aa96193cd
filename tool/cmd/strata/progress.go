package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// progressInterval is how often what is on a terminal changes: people can't read faster.
const progressInterval = 100 * time.Millisecond

// quietFlag is the name of the flag, which all commands have, for who wants results and errors alone.
const quietFlag = "quiet"

// console is where a command says what it does: standard error.
type console struct {
	w io.Writer
	// terminal says that lines can be replaced by others. Where a log is kept, as in CI, they can't.
	terminal bool
	width    int // of the terminal; 0: it isn't known
	quiet    bool
	start    time.Time
}

func newConsole(cmd *cobra.Command) console {
	c := console{w: cmd.ErrOrStderr(), start: time.Now()}
	c.quiet, _ = cmd.Flags().GetBool(quietFlag)
	if f, ok := c.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("CI") == "" && os.Getenv("TERM") != "dumb" {
		c.terminal = true
		c.width, _, _ = term.GetSize(int(f.Fd()))
	}
	return c
}

// elapsed is the time since the beginning, as people read it.
func (c *console) elapsed() string { return seconds(time.Since(c.start)) }

// cut keeps a line from being broken in two, which who takes it off again wouldn't know of.
func (c *console) cut(s string) string {
	if c.width > 0 && len(s) >= c.width {
		return strings.ToValidUTF8(s[:c.width-1], "")
	}
	return s
}

// progress is one line on a terminal that says how far the work is, and in the end, there and elsewhere, what was done.
type progress struct {
	console
	mu    sync.Mutex
	shown time.Time
	dirty bool // the line holds something
}

func newProgress(cmd *cobra.Command) *progress { return &progress{console: newConsole(cmd)} }

// show replaces the line, unless it did so just now.
func (p *progress) show(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet || !p.terminal || time.Since(p.shown) < progressInterval {
		return
	}
	p.shown, p.dirty = time.Now(), true
	fmt.Fprint(p.w, "\r\x1b[K"+p.cut(fmt.Sprintf(format, args...)))
}

// clear empties the line.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dirty {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.dirty = false
	}
}

// say writes a line that stays.
func (p *progress) say(format string, args ...any) {
	p.write("strata: " + fmt.Sprintf(format, args...) + "\n")
}

// write writes text that stays, as it is.
func (p *progress) write(text string) {
	p.clear()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.quiet {
		io.WriteString(p.w, text)
	}
}
