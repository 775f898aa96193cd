package main

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands are all that `strata help` lists, and strata itself.
func commands() []*cobra.Command {
	root := newRootCommand()
	all := []*cobra.Command{root}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			all = append(all, c)
		}
	}
	return all
}

// Every command says what it does, in a line and at length, shows how it is called, and names what its flags want.
func TestHelp(t *testing.T) {
	overview := newRootCommand().Long
	for _, c := range commands() {
		t.Run(c.Name(), func(t *testing.T) {
			if first, _ := utf8.DecodeRuneInString(c.Short); !unicode.IsUpper(first) || strings.HasSuffix(c.Short, ".") {
				t.Errorf("Short is %q: want a line that begins with a capital, without a period", c.Short)
			}
			if len(c.Long) <= len(c.Short) {
				t.Errorf("Long is %q: want more than in Short", c.Long)
			}
			if c.HasParent() && strings.Count(overview, "  strata "+c.Name()+" ") != 1 {
				t.Errorf("strata --help says nothing of it at the top")
			}
			if !strings.HasPrefix(c.Example, "  ") || !strings.Contains(c.Example, "strata "+c.Name()) && c.HasParent() {
				t.Errorf("the examples are %q: want lines with strata %s, each behind two spaces", c.Example, c.Name())
			}
			c.InitDefaultHelpFlag()
			c.LocalFlags().VisitAll(func(f *pflag.Flag) {
				if f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
					t.Errorf("--%s: its usage is %q: want a line without a period", f.Name, f.Usage)
				}
				// What a flag wants stands in backquotes in its usage: without, help would say string or stringArray.
				if what, _ := pflag.UnquoteUsage(f); f.NoOptDefVal == "" && strings.ToUpper(what) != what && f.Value.Type() != "bytes" && !strings.Contains(what, "|") {
					t.Errorf("--%s: help says that it wants a %q; say it by `NAME` in its usage", f.Name, what)
				}
			})
		})
	}
}

// twoMeanings are flags that say one thing in one command and another in another.
var twoMeanings = map[string]bool{
	"files":   true, // of strata build: in the image; of strata diff: what differs
	"refresh": true, // of strata lock: now; of strata serve: how often
}

// A flag of one name, in several commands, has one meaning and one short form.
func TestHelp_OneNameOneMeaning(t *testing.T) {
	first := map[string]*pflag.Flag{}
	for _, c := range commands() {
		c.InitDefaultHelpFlag()
		if q := c.Flag(quietFlag); q == nil || q.Shorthand != "q" {
			t.Errorf("strata %s has no -q", c.Name())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			was := first[f.Name]
			if was == nil {
				first[f.Name] = f
			}
			if was == nil || twoMeanings[f.Name] {
				return
			}
			// What one command takes once, another may take several times.
			if one, other := strings.TrimSuffix(f.Value.Type(), "Array"), strings.TrimSuffix(was.Value.Type(), "Array"); one != other {
				t.Errorf("--%s is a %s here and a %s there: %q, %q", f.Name, one, other, f.Usage, was.Usage)
			}
			if was.Shorthand != f.Shorthand && was.Shorthand != "" && f.Shorthand != "" {
				t.Errorf("--%s is -%s here and -%s there", f.Name, f.Shorthand, was.Shorthand)
			}
			if strings.Contains(f.Usage, "JSON") != strings.Contains(was.Usage, "JSON") {
				t.Errorf("--%s: %q here, %q there", f.Name, f.Usage, was.Usage)
			}
		})
	}
	for name, short := range map[string]string{"output": "o", "quiet": "q", "help": "h"} {
		if f := first[name]; f == nil || f.Shorthand != short {
			t.Errorf("--%s: want -%s for it", name, short)
		}
	}
}
