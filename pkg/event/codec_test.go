package event_test

import (
	"bytes"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/belay-hooks/belay/pkg/event"
)

// anyText is any bytes at all, with those that headers treat as their own more
// often than chance would bring them.
func anyText() *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOf(rapid.OneOf(
		rapid.Byte(),
		rapid.SampledFrom([]byte("\r\n\t %\".:,\x00\x7f\xff")),
	)), func(b []byte) string { return string(b) })
}

func someText() *rapid.Generator[string] {
	return anyText().Filter(func(s string) bool { return s != "" })
}

// headerName is an HTTP token (https://www.rfc-editor.org/rfc/rfc9110#name-tokens),
// as net/http hands it on.
func headerName() *rapid.Generator[string] {
	return rapid.Map(rapid.StringMatching("[-!#$&'*+.^_`|~0-9A-Za-z]{1,20}"), http.CanonicalHeaderKey)
}

func anyEvent() *rapid.Generator[*event.Event] {
	return rapid.Custom(func(t *rapid.T) *event.Event {
		e := &event.Event{
			ID:          someText().Draw(t, "id"),
			Source:      someText().Draw(t, "source"),
			Type:        someText().Draw(t, "type"),
			ContentType: anyText().Draw(t, "content type"),
			Traceparent: anyText().Draw(t, "traceparent"),
			Receiver:    anyText().Draw(t, "receiver"),
			SourceID:    anyText().Draw(t, "source id"),
			Key:         anyText().Draw(t, "key"),
			Tenant:      anyText().Draw(t, "tenant"),
			To:          anyText().Draw(t, "to"),
			When:        anyText().Draw(t, "when"),
			Body:        rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		if rapid.Bool().Draw(t, "has a time") {
			e.Time = time.Unix(rapid.Int64Range(0, 1<<37).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		}
		header := rapid.MapOfN(headerName(), rapid.SliceOfN(anyText(), 1, 3), 0, 4).Draw(t, "header")
		if len(header) > 0 {
			e.Header = header
		}
		return e
	})
}

func checkSame(t rapid.TB, got, want *event.Event) {
	t.Helper()
	if !got.Time.Equal(want.Time) {
		t.Errorf("time %v, want %v", got.Time, want.Time)
	}
	if !bytes.Equal(got.Body, want.Body) {
		t.Errorf("body %q, want %q", got.Body, want.Body)
	}
	a, b := *got, *want
	a.Time, a.Body, b.Time, b.Body = time.Time{}, nil, time.Time{}, nil
	if !reflect.DeepEqual(a, b) {
		t.Errorf("decoded\n%+v, want\n%+v", a, b)
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent().Draw(t, "event")
		got, err := event.Decode(e.Encode())
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, got, e)
	})
}

// The same over the header block as the broker's protocol writes it
// (https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-4.md):
// lines of text, with the blanks around a value trimmed.
func TestRoundTripOverTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent().Draw(t, "event")
		header, data := e.Encode()
		got, err := event.Decode(overTheWire(t, header), data)
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, got, e)
	})
}

func overTheWire(t rapid.TB, header map[string][]string) map[string][]string {
	t.Helper()
	var block strings.Builder
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if !isToken(name) {
			t.Errorf("the header name %q is no HTTP token", name)
		}
		for _, v := range header[name] {
			if strings.ContainsAny(v, "\r\n") || strings.Trim(v, " \t") != v {
				t.Errorf("%s: %q would not survive as a line of text", name, v)
			}
			block.WriteString(name + ": " + v + "\r\n")
		}
	}
	read := make(map[string][]string)
	for line := range strings.SplitSeq(strings.TrimSuffix(block.String(), "\r\n"), "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		read[name] = append(read[name], strings.Trim(value, " \t"))
	}
	return read
}

func isToken(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func TestEncode(t *testing.T) {
	e := &event.Event{
		ID: "72d3162e", Source: "/github/default", Type: "github.push",
		Time:        time.Date(2026, 11, 22, 10, 0, 0, 123, time.FixedZone("", 3600)),
		ContentType: `application/json; charset="utf-8"`, Receiver: "github", SourceID: "default",
		Key: "octo/hé llo", Header: http.Header{"User-Agent": {" a  b% "}}, Body: []byte("{}"),
		Run: 1, Attempt: 2, Chain: "not stored", Handler: "not stored", Values: event.Values{"a": nil},
	}
	header, data := e.Encode()
	want := map[string][]string{
		"ce-specversion": {"1.0"}, "ce-id": {"72d3162e"}, "ce-source": {"/github/default"}, "ce-type": {"github.push"},
		"ce-time": {"2026-11-22T09:00:00.000000123Z"}, "ce-belayreceiver": {"github"}, "ce-belaysource": {"default"},
		"ce-belaykey": {"octo/h%C3%A9%20llo"}, "content-type": {`application/json; charset="utf-8"`},
		"http-User-Agent": {"%20a  b%25%20"},
	}
	if !reflect.DeepEqual(header, want) || string(data) != "{}" {
		t.Errorf("encoded %q, %q", header, data)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, change := range map[string]func(h map[string][]string){
		"no version":       func(h map[string][]string) { delete(h, "ce-specversion") },
		"another version":  func(h map[string][]string) { h["ce-specversion"] = []string{"0.3"} },
		"no id":            func(h map[string][]string) { delete(h, "ce-id") },
		"no source":        func(h map[string][]string) { h["ce-source"] = nil },
		"empty type":       func(h map[string][]string) { h["ce-type"] = []string{""} },
		"time in words":    func(h map[string][]string) { h["ce-time"] = []string{"now"} },
		"cut escape":       func(h map[string][]string) { h["ce-id"] = []string{"a%2"} },
		"no hexadecimal":   func(h map[string][]string) { h["ce-belaykey"] = []string{"%zz"} },
		"escape in header": func(h map[string][]string) { h["http-X-A"] = []string{"%"} },
	} {
		t.Run(name, func(t *testing.T) {
			header, data := (&event.Event{ID: "a", Source: "/b", Type: "c"}).Encode()
			change(header)
			if e, err := event.Decode(header, data); err == nil {
				t.Errorf("decoded %+v", e)
			}
		})
	}
}

func TestKeep(t *testing.T) {
	request := http.Header{"X-A": {"2", "1"}, "X-B": {"3"}, "X-Empty": {}}
	var e event.Event
	e.Keep(request, "x-a", "X-Missing", "X-Empty")
	if want := (http.Header{"X-A": {"2", "1"}}); !reflect.DeepEqual(e.Header, want) {
		t.Errorf("kept %v, want %v", e.Header, want)
	}
	var none event.Event
	if none.Keep(request, "X-Missing"); none.Header != nil {
		t.Errorf("kept %v of nothing", none.Header)
	}
}

// What decodes is written again as what decodes to the same.
func FuzzDecode(f *testing.F) {
	header, data := (&event.Event{
		ID: "1", Source: "/github/default", Type: "github.push", Time: time.Unix(1, 2), Key: "a b",
		Header: http.Header{"User-Agent": {" x "}}, Body: []byte("{}"),
	}).Encode()
	for name, values := range header {
		f.Add(name, values[0], name, "", data)
	}
	f.Add("http-", "%41%4", "ce-time", "2026-11-22T10:00:00+25:00", []byte{0})
	f.Add("ce-time", "0000-01-01T00:00:00+23:59", "ce-id", "%00", []byte{})
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string, data []byte) {
		header := map[string][]string{
			"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/s"}, "ce-type": {"t"},
		}
		header[name1] = append(header[name1], value1)
		header[name2] = []string{value2}
		e, err := event.Decode(header, data)
		if err != nil {
			return
		}
		e.Subject()
		e.MsgID()
		again, err := event.Decode(e.Encode())
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		checkSame(t, again, e)
	})
}
