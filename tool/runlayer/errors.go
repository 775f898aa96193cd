package runlayer

import (
	"fmt"
	"strings"

	"github.com/rules-strata/rules_strata/tool/terminal"
)

// CommandError says that the program ran and failed.
type CommandError struct {
	// Command is the program and its arguments.
	Command []string
	// Failure says how it ended, as "exit code 3".
	Failure string
	// Output is what it wrote to standard output and standard error, byte for byte; of much the beginning and the end.
	Output []byte
	// Advice is what may help; "": nothing is known.
	Advice string
}

// Error is one line for how it ended, and its output below, as it may be shown on a terminal.
func (e *CommandError) Error() string {
	text := fmt.Sprintf("command %.200q: %s", strings.Join(e.Command, " "), e.Failure)
	if len(e.Output) == 0 {
		return text + "; it wrote nothing"
	}
	return text + "; it wrote:\n" + terminal.Printable(strings.TrimRight(string(e.Output), "\n"))
}

// Hint is what may help.
func (e *CommandError) Hint() string { return e.Advice }

// UnavailableError says that this machine gives a program no root of its own.
type UnavailableError struct {
	// Reasons say of each way what forbids it.
	Reasons []string
	// Advice is what to do.
	Advice string
}

// Error lists the reasons.
func (e *UnavailableError) Error() string {
	return "a command can't be run in a root of its own here: " + strings.Join(e.Reasons, "; ")
}

// Hint is what to do.
func (e *UnavailableError) Hint() string { return e.Advice }
