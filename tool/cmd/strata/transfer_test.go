package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rules-strata/rules_strata/tool/registry"
)

func blobOf(name string, size int64) ocispec.Descriptor {
	return ocispec.Descriptor{Digest: digest.FromString(name), Size: size}
}

// Where no terminal is, there is a line for each blob that moved, when it is over, and none on the way.
func TestTransfer_Plain(t *testing.T) {
	var out bytes.Buffer
	tr := newTransfer(console{w: &out})
	a, b := blobOf("a", 2_000_000), blobOf("b", 5)
	tr.show(registry.Event{Descriptor: a, State: registry.Sending, Done: 1000})
	tr.show(registry.Event{Descriptor: b, State: registry.There, Done: 5})
	tr.show(registry.Event{Descriptor: a, State: registry.Sent, Done: 2_000_000})
	tr.end("pushed %d", 1)
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "strata: sent sha256:ca978112ca1b  2.0 MB  ") || lines[1] != "strata: pushed 1" {
		t.Errorf("it says %q", lines)
	}
	out.Reset()
	tr = newTransfer(console{w: &out, quiet: true})
	tr.show(registry.Event{Descriptor: a, State: registry.Sent, Done: 2_000_000})
	tr.end("pushed %d", 1)
	if out.Len() > 0 {
		t.Errorf("quiet, it says %q", &out)
	}
}

// On a terminal the lines of what is under way are replaced, none is longer than the terminal is wide, and in the
// end the last word alone is left.
func TestTransfer_Terminal(t *testing.T) {
	var out bytes.Buffer
	tr := newTransfer(console{w: &out})
	tr.terminal, tr.width = true, 40
	for i := range maxLines + 3 {
		d := blobOf(fmt.Sprint(i), 1000)
		tr.show(registry.Event{Descriptor: d, State: registry.Receiving, Done: 500})
		tr.draw()
		if i == 0 {
			tr.show(registry.Event{Descriptor: d, State: registry.Received, Done: 1000})
		}
	}
	tr.end("pulled")
	screen := 0 // lines below which the cursor is
	for line := range strings.Lines(out.String()) {
		up := strings.Count(line, "\x1b[A\x1b[2K")
		text := strings.TrimSuffix(strings.ReplaceAll(line, "\x1b[A\x1b[2K", ""), "\n")
		if screen -= up; screen < 0 || screen > maxLines+1 {
			t.Fatalf("%d lines on the screen at %q", screen, line)
		}
		if len(text) >= 40 {
			t.Errorf("too long: %q", text)
		}
		screen++
	}
	if screen != 1 || !strings.HasSuffix(out.String(), "strata: pulled\n") {
		t.Errorf("%d lines are left: %q", screen, &out)
	}
}
