// Package samples holds a few webhooks of each receiver of the catalogue, as the
// provider sends them but for the signature: for belay send, and for tests.
//
// The folder files has one YAML file a receiver, a list of [Sample]. In the texts
// of a sample stand the placeholders of text/template:
//
//	{{.ID}}      the delivery id
//	{{.New}}     32 hex digits, {{.UUID}} a UUID, {{.Number}} 15 digits: new ones each time
//	{{.Unix}}    the time in seconds since 1970, {{.Millis}} in milliseconds, {{.Time}} as in RFC 3339
//
// So two requests made of one sample are two deliveries, and as fresh as genuine ones.
package samples

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/receiver"
)

//go:embed files payloads
var embedded embed.FS

// Sample is one webhook of a provider.
type Sample struct {
	// Receiver is the slug of the receiver that it is for.
	Receiver string `yaml:"-"`
	// Event is its name, which is the name of the event that comes out.
	Event string `yaml:"event"`
	// Type is the type of the event that comes out. Default: the receiver, a dot
	// and Event. It differs where the provider does not name events, or by numbers.
	Type string `yaml:"type"`
	// Unstored is true of what is answered and no event: pings and handshakes.
	Unstored bool `yaml:"unstored"`
	// ID is the template of a new delivery id. Empty: the provider has none.
	ID string `yaml:"id"`
	// Key is the key that comes out; {{.ID}} where it is the delivery's.
	Key string `yaml:"key"`
	// Headers are set beside Content-Type, which is application/json unless it is here.
	Headers map[string]string `yaml:"headers"`
	// Body is the template of the body. JSON is sent without blanks, as most
	// providers do; some SDKs write it anew before they verify it.
	Body string `yaml:"body"`
	// File is a file in the folder payloads that holds the template instead.
	File string `yaml:"file"`
}

// all are the samples by receiver. The files are part of the program, so a
// broken one is a broken program.
var all = sync.OnceValue(func() map[string][]*Sample {
	names, err := embedded.ReadDir("files")
	if err != nil {
		panic("samples: " + err.Error())
	}
	found := make(map[string][]*Sample, len(names))
	for _, n := range names {
		text, err := embedded.ReadFile(path.Join("files", n.Name()))
		if err != nil {
			panic("samples: " + err.Error())
		}
		var some []*Sample
		if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&some); err != nil {
			panic("samples: " + n.Name() + ": " + err.Error())
		}
		slug := strings.TrimSuffix(n.Name(), ".yaml")
		for _, s := range some {
			s.Receiver = slug
			if s.Type == "" {
				s.Type = event.TypeOf(slug, s.Event)
			}
		}
		found[slug] = some
	}
	return found
})

// Receivers lists the slugs of the receivers that have samples, in alphabetical order.
func Receivers() []string { return slices.Sorted(maps.Keys(all())) }

// Of lists the samples of a receiver; the first is the one to take if none is
// asked for.
func Of(slug string) []*Sample { return all()[slug] }

// Find is the sample of a receiver that an event is named by: its whole name, or
// what stands before a dot in it, so that pull_request is pull_request.opened.
// Without a name it is the first.
func Find(slug, name string) (*Sample, bool) {
	for _, s := range Of(slug) {
		if name == "" || s.Event == name || strings.HasPrefix(s.Event, name+".") {
			return s, true
		}
	}
	return nil, false
}

// values are what placeholders stand for.
type values struct {
	ID   string
	Time string

	at time.Time
}

func (values) New() string     { return strings.ReplaceAll(event.NewID(), "-", "") }
func (values) UUID() string    { return event.NewID() }
func (v values) Unix() int64   { return v.at.Unix() }
func (v values) Millis() int64 { return v.at.UnixMilli() }

// Number has 15 digits: no JSON parser rounds it.
func (values) Number() int64 {
	const smallest = 100_000_000_000_000
	return smallest + rand.Int64N(9*smallest) //nolint:gosec // it is to be new, and no secret
}

// Request makes an unsigned request of the sample, and its body, which the
// request has too. An empty id is a new one.
func (s *Sample) Request(ctx context.Context, url, id string, now time.Time) (*http.Request, []byte, error) {
	header, body, err := s.Fill(id, now)
	if err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, s.method(), url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("make a request: %w", err)
	}
	r.Header = header
	return r, body, nil
}

// Fill is the headers and the body of an unsigned request. An empty id is a new one.
func (s *Sample) Fill(id string, now time.Time) (header http.Header, body []byte, err error) {
	v := values{ID: id, Time: now.UTC().Format("2006-01-02T15:04:05.000Z"), at: now}
	if id == "" {
		if v.ID, err = v.fill(s.ID); err != nil {
			return nil, nil, s.broken(err)
		}
	}
	if body, err = s.body(v); err != nil {
		return nil, nil, s.broken(err)
	}
	header = http.Header{"Content-Type": {"application/json"}}
	for name, text := range s.Headers {
		value, err := v.fill(text)
		if err != nil {
			return nil, nil, s.broken(err)
		}
		header.Set(name, value)
	}
	return header, body, nil
}

func (s *Sample) method() string {
	if r, ok := receiver.Lookup(s.Receiver); ok {
		return r.Methods[0]
	}
	return http.MethodPost
}

func (s *Sample) body(v values) ([]byte, error) {
	text := s.Body
	if s.File != "" {
		file, err := embedded.ReadFile(path.Join("payloads", s.File))
		if err != nil {
			return nil, err
		}
		text = string(file)
	}
	filled, err := v.fill(text)
	if err != nil || s.File != "" {
		return []byte(filled), err
	}
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(filled)) != nil {
		return []byte(filled), nil // a form
	}
	return compact.Bytes(), nil
}

func (s *Sample) broken(err error) error {
	return fmt.Errorf("the sample %s of %s: %w", s.Event, s.Receiver, err)
}

// fill replaces the placeholders of a text.
func (v values) fill(text string) (string, error) {
	t, err := template.New("").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, v)
	return b.String(), err
}
