package main

import (
	"io"
	"strings"
	"unicode"
)

// A terminal is where a person reads what others have sent: the body of a webhook, its
// id, what a program answered. Its control characters are shown and not obeyed, or
// they could move the cursor and write over what stands there
// (https://cwe.mitre.org/data/definitions/150.html).
type terminal struct{ io.Writer }

// forPeople is where output goes: as it is, unless a person looks at it.
func forPeople(w io.Writer) io.Writer {
	if isTerminal(w) {
		return terminal{w}
	}
	return w
}

// Write shows a control character as ^[ and the like, but for those that end a line
// or a column.
func (t terminal) Write(p []byte) (int, error) {
	const caret = '@' // ^@ is 0, ^A is 1
	var shown strings.Builder
	for _, r := range string(p) {
		switch {
		case r == '\n' || r == '\t' || !unicode.IsControl(r):
			shown.WriteRune(r)
		case r < ' ':
			shown.WriteRune('^')
			shown.WriteRune(r + caret)
		default:
			shown.WriteRune(unicode.ReplacementChar)
		}
	}
	if _, err := io.WriteString(t.Writer, shown.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}
