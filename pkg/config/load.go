package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds the configuration file. A thousand chains take a tenth of it.
const maxFile = 4 << 20

// Options is what [Load] needs to know beside the file.
type Options struct {
	// Dev is for trying out: secrets may stand in the file itself, and none must come
	// over HTTPS.
	Dev bool
	// LookupEnv finds the variables that secrets refer to: [os.LookupEnv]. Nil
	// finds none.
	LookupEnv func(name string) (string, bool)
}

// Load reads and validates the configuration file. What is wrong with it comes
// back as [Problems], all at once, with what could be read of the file: who
// knows more can look for more that is wrong. Secrets are not resolved yet, since not every
// program that shares the file may see them: that is [File.CheckSecrets].
func Load(path string, opt Options) (*File, error) {
	text, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w; BELAY_CONFIG says where it is", err)
	}
	return Parse(path, text, opt)
}

// Parse is [Load] of a text; the path only names it in messages.
func Parse(path string, text []byte, opt Options) (*File, error) {
	f := &File{path: path, text: text, index: index{}, others: map[string][]byte{}, told: map[string]bool{}, dev: opt.Dev}
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return f, Problems{syntaxProblem(path, err)}
	}
	d := &decoder{file: f, path: path, opt: opt, bad: f.told}
	d.document(tree)
	d.problems = append(d.problems, f.validate(d.bad)...)
	if len(d.problems) == 0 {
		return f, nil
	}
	slices.SortStableFunc(d.problems, func(a, b *Problem) int { return a.Line - b.Line })
	for _, p := range d.problems {
		if field, ok := errors.AsType[*FieldError](p.Err); ok {
			f.told[field.Path] = true
		}
	}
	return f, d.problems
}

// CheckSecrets resolves every secret once. The error joins a located problem
// for each that is missing or empty.
func (f *File) CheckSecrets() error {
	var errs []error
	for i := range f.Sources {
		for j, s := range f.Sources[i].Secrets {
			if _, err := s.Value(); err != nil {
				errs = append(errs, f.Locate(&FieldError{
					Path: element(fmt.Sprintf("sources[%d].secrets", i), j),
					Want: err.Error(),
				}))
			}
		}
	}
	return errors.Join(errs...)
}

// Path is where the file was read from.
func (f *File) Path() string { return f.path }

func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s is over %d bytes, want a configuration file", path, maxFile)
	}
	return text, nil
}

// syntaxProblem keeps the parser's message and place, and drops the lines of the
// file that it would print beside them: a secret may stand there.
func syntaxProblem(path string, err error) *Problem {
	p := &Problem{File: path, Err: errors.New("not YAML that can be read")}
	var at yaml.Error
	if errors.As(err, &at) {
		p.Err = errors.New(at.GetMessage() + hintOf(at.GetMessage()))
		if tk := at.GetToken(); tk != nil && tk.Position != nil {
			p.Line = tk.Position.Line
		}
	}
	return p
}

// hintOf says what is likely wrong where the parser's message does not.
func hintOf(message string) string {
	switch {
	case strings.Contains(message, "not allowed in this context"):
		return ": is the line indented as those that it belongs to?"
	case strings.Contains(message, "'\t'"), strings.Contains(message, "'\\t'"):
		return ": indent with blanks, not with tabs"
	}
	return ""
}
