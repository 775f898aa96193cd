// Package terminal knows what may be shown to people: texts that others wrote (a program's output, names of files, a server's answer)
// can hold what a terminal obeys, escape sequences that move its cursor, set its title or answer for its user.
package terminal

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Printable returns text with all that isn't printed as Go would quote it: an escape as \x1b, a byte that isn't UTF-8 as \xff,
// what turns the direction of writing as \u202e. Line breaks and tabs stay.
func Printable(text string) string {
	if !strings.ContainsFunc(text, hidden) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case hidden(r):
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteString(text[i : i+n])
		}
		i += n
	}
	return b.String()
}

// hidden reports whether a character is not printed; a no-break space is.
func hidden(r rune) bool {
	return r != '\n' && r != '\t' && r != '\u00a0' && !strconv.IsPrint(r)
}
