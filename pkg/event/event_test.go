package event_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/belay-hooks/belay/pkg/event"
)

func TestNames(t *testing.T) {
	for name, c := range map[string]struct{ receiver, name, kind string }{
		"webhook":               {"github", "pull_request.opened", "github.pull_request.opened"},
		"no name":               {"generic", "", "generic"},
		"named as the receiver": {"a", "a", "a.a"},
		"begins with a dot":     {"a", ".b", "a..b"},
		"notification":          {"", "deploy.requested", "deploy.requested"},
	} {
		t.Run(name, func(t *testing.T) {
			kind := event.TypeOf(c.receiver, c.name)
			if kind != c.kind {
				t.Errorf("the type is %q, want %q", kind, c.kind)
			}
			if got := (&event.Event{Receiver: c.receiver, Type: kind}).Name(); got != c.name {
				t.Errorf("the name is %q, want %q", got, c.name)
			}
		})
	}
}

// The keys are known to others, who refuse what they have seen: they must not change.
// Each is the first half of what sha256sum says of the text in the comment.
func TestIdempotencyKeysDoNotChange(t *testing.T) {
	for name, c := range map[string]struct {
		e    event.Event
		want string
	}{
		// 15:/github/default,1:e,1:0,1:c,4:step,
		"short": {event.Event{Source: "/github/default", ID: "e", Chain: "c", Handler: "step"}, "0967657fac44db66322b7df2a12a1fcf"},
		// 15:/github/default,300:xx…x,1:7,1:c,4:step,
		"longer than the room for it": {
			event.Event{Source: "/github/default", ID: strings.Repeat("x", 300), Chain: "c", Handler: "step", Run: 7}, "9a38e4a412b3967557db6c406419e2d9",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.e.IdempotencyKey(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestNewID(t *testing.T) {
	a, b := event.NewID(), event.NewID()
	if id, err := uuid.Parse(a); err != nil || id.Version() != 7 {
		t.Errorf("%q is no UUIDv7", a)
	}
	if a >= b {
		t.Errorf("%s and then %s: ids must sort by time", a, b)
	}
}

// These may never change: what is stored lies in the partition that was
// computed when it was stored.
func TestPartition(t *testing.T) {
	// xxHash64 of the key modulo 64, from another implementation of
	// https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
	for key, want := range map[string]int{
		"1":                                    20,
		"octo/hello":                           29,
		"Codertocat/Hello-World":               22,
		"72d3162e-cc78-11e3-81ab-4c9367dc0958": 30,
		"a key that is longer than thirty-two bytes": 3,
		"ключ": 28,
	} {
		if got := (&event.Event{Key: key, ID: "unused"}).Partition(); got != want {
			t.Errorf("key %q lies in partition %d, want %d", key, got, want)
		}
		if got := (&event.Event{ID: key}).Partition(); got != want {
			t.Errorf("id %q lies in partition %d, want %d", key, got, want)
		}
	}
}

func TestMsgID(t *testing.T) {
	long := strings.Repeat("x", 200)
	for name, c := range map[string]struct {
		event event.Event
		want  string
	}{
		"webhook":         {event.Event{Receiver: "github", SourceID: "eu", ID: "72d3162e"}, "github/eu/72d3162e"},
		"any bytes":       {event.Event{Receiver: "github", SourceID: "eu", ID: "a b\n%\xff"}, "github/eu/a%20b%0A%25%FF"},
		"notification":    {event.Event{Tenant: "acme", Source: "/shop", ID: "1"}, "acme/5//shop/1"},
		"128 bytes":       {event.Event{Receiver: "r", SourceID: "s", ID: long[:124]}, "r/s/" + long[:124]},
		"129 bytes":       {event.Event{Receiver: "r", SourceID: "s", ID: long[:125]}, "sha256/601ba164d1c3069a1928f24726db0d3353edbecb92f312879e95f4498cbfd4cc"},
		"long by escapes": {event.Event{Receiver: "r", SourceID: "s", ID: strings.Repeat(" ", 60)}, "sha256/82a47bbf72d66aa2993bdb8808c013e53c07bc9879ad7059eb78c1bea91830f6"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.event.MsgID(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// Different events never share an id for deduplication, or one would be lost.
func TestMsgIDsDiffer(t *testing.T) {
	part := rapid.OneOf(rapid.StringMatching(`[a/1%]{0,4}`), rapid.StringMatching(`[ab]{120,130}`))
	rapid.Check(t, func(t *rapid.T) {
		a := event.Event{Tenant: "t", Source: part.Draw(t, "source"), ID: part.Draw(t, "id")}
		b := event.Event{Tenant: "t", Source: part.Draw(t, "other source"), ID: part.Draw(t, "other id")}
		same := a.Source == b.Source && a.ID == b.ID
		if (a.MsgID() == b.MsgID()) != same {
			t.Errorf("%+v and %+v share %s", a, b, a.MsgID())
		}
		if n := len(a.MsgID()); n > 128 {
			t.Errorf("an id of %d bytes", n)
		}
	})
}

func TestValues(t *testing.T) {
	var v event.Values
	if ok, err := v.Get("a", new(int)); ok || err != nil {
		t.Errorf("an empty set has a: %v, %v", ok, err)
	}
	if err := v.Set("a", map[string]int{"n": 7}); err != nil {
		t.Fatal(err)
	}
	var got struct{ N int }
	if ok, err := v.Get("a", &got); !ok || err != nil || got.N != 7 {
		t.Errorf("read %+v, %v, %v", got, ok, err)
	}
	if ok, err := v.Get("a", new(string)); !ok || err == nil {
		t.Errorf("read into the wrong type: %v, %v", ok, err)
	}
	if err := v.Set("b", make(chan int)); err == nil {
		t.Error("stored what has no JSON form")
	}
}
