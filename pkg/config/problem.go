package config

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// FieldError is a value that is wrong. The roles return it too, for what they
// know beyond the file's shape; [File.Locate] then adds the line.
type FieldError struct {
	// Path is where the field is: chains[0].handlers[1].http.url.
	Path string
	// Value is what stands there. Empty if it is a secret, or missing.
	Value string
	// Want is what would be right: "want an absolute http or https URL".
	Want string
	// Mark is the place in the value, where that is an expression. Nil: all of it.
	Mark *Mark
}

// Mark is a place in a text.
type Mark struct {
	Text string
	// Offset is in bytes.
	Offset int
}

// line is the line of the text that the place is in, and the bytes before it there.
func (m *Mark) line() (line, before string) {
	before = m.Text[:min(max(m.Offset, 0), len(m.Text))]
	before = before[strings.LastIndexByte(before, '\n')+1:]
	line, _, _ = strings.Cut(m.Text[min(max(m.Offset, 0), len(m.Text)):], "\n")
	return before + line, before
}

// caret is the line with a caret under the place.
func (m *Mark) caret() string {
	line, before := m.line()
	blank := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, before)
	return "\n    " + line + "\n    " + blank + "^"
}

// Error is the path, the value and what would be right; of an expression also the
// line of it, with a caret under the place.
func (e *FieldError) Error() string {
	if e.Mark != nil {
		return e.text() + e.Mark.caret()
	}
	return e.text()
}

func (e *FieldError) text() string {
	switch {
	case e.Value == "" && e.Path == "":
		return e.Want
	case e.Value == "":
		return e.Path + ": " + e.Want
	case e.Path == "":
		return quote(e.Value) + ": " + e.Want
	}
	return e.Path + " is " + quote(e.Value) + ": " + e.Want
}

// maxShown bounds how much of a value a message repeats.
const maxShown = 80

func quote(value string) string {
	if len(value) > maxShown {
		end := maxShown
		for end > 0 && !utf8.RuneStart(value[end]) {
			end--
		}
		value = value[:end] + "…"
	}
	return strconv.Quote(value)
}

// Problem is an error with the place that it comes from.
type Problem struct {
	// File is the configuration file's path, as it was given.
	File string
	// Line counts from 1. 0: the file as a whole.
	Line int
	// Column counts from 1, in characters, where the place inside of a line is known.
	Column int
	// Err says what is wrong; often a [*FieldError].
	Err error
}

// Error is file:line:column: and the error.
func (p *Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Err.Error()
	}
	if p.Column > 0 {
		return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Err)
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Err)
}

// Unwrap is the error without its place.
func (p *Problem) Unwrap() error { return p.Err }

// Problems are all that is wrong with a file, in the order of its lines.
type Problems []*Problem

// Error is one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap is the problems one by one.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// Locate adds file and line to an error with a [*FieldError] inside, and to
// each such error of a joined one. Any other error is returned as it is. Of a
// value that has a problem already no more is told: nil.
func (f *File) Locate(err error) error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		var located []error
		for _, e := range joined.Unwrap() {
			located = append(located, f.Locate(e))
		}
		return errors.Join(located...)
	}
	var (
		field   *FieldError
		problem *Problem
	)
	if errors.As(err, &problem) || !errors.As(err, &field) {
		return err
	}
	if f.HasProblem(field.Path) {
		return nil
	}
	at := f.index.at(field.Path)
	p := &Problem{File: cmp.Or(at.file, f.path), Line: at.line, Err: err}
	if field.Mark != nil && p.File == f.path {
		f.point(p, field.Mark)
	}
	return p
}

// point finds the place of an expression in the file, where a line of it stands there
// as it is: that of a text that is folded, or has escapes, cannot be pointed at.
func (f *File) point(p *Problem, m *Mark) {
	line, before := m.line()
	if strings.TrimSpace(line) == "" || p.Line == 0 {
		return
	}
	lines := strings.Split(string(f.text), "\n")
	for i := p.Line - 1; i < min(len(lines), p.Line+strings.Count(m.Text, "\n")+1); i++ {
		if at := strings.Index(lines[i], line); at >= 0 {
			p.Line, p.Column = i+1, utf8.RuneCountInString(lines[i][:at]+before)+1
			return
		}
	}
}

// HasProblem reports whether [Parse] told that something is wrong with a value,
// with what it stands in, or with a part of it.
func (f *File) HasProblem(path string) bool {
	for told := range f.told {
		if told == "" || within(told, path) || within(path, told) {
			return true
		}
	}
	return false
}

// within reports whether one path is another, or leads on from it.
func within(outer, path string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// A spot is a line of a file.
type spot struct {
	file string
	line int
}

// An index holds the place of every value of the file, by path.
type index map[string]spot

// line is the line of [index.at].
func (ix index) line(path string) int { return ix.at(path).line }

// at is where the path stands, or else the nearest thing around it.
func (ix index) at(path string) spot {
	for {
		if at, ok := ix[path]; ok {
			return at
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return ix[""]
		}
		path = path[:cut]
	}
}

// has reports whether the file sets the field.
func (ix index) has(path string) bool {
	_, ok := ix[path]
	return ok
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func child(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
