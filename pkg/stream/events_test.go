package stream_test

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/stream"
)

func TestEventIsStoredOnceAndReadBack(t *testing.T) {
	b := testbroker.NewSharded(t, 3)
	e := &event.Event{
		ID: "72d3162e", Source: "/github/default", Type: "github.weird name.ünï\x00\n*.>",
		Receiver: "github", SourceID: "default", Key: "octo/hello", ContentType: "application/json; charset=\"utf-8\"",
		Header: map[string][]string{"X-Odd": {" spaces ", "line\r\nbreak", "", "100%", "\xff\xfe"}},
		Body:   []byte("\x00\xff body\r\n"),
		Time:   time.Date(2026, 11, 22, 1, 2, 3, 4, time.UTC),
	}
	header, data := e.Encode()
	m := stream.Message{Subject: e.Subject(), Header: header, Data: data, ID: e.MsgID()}
	first, err := b.Publish(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.Publish(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if first.Duplicate || !second.Duplicate || second.Seq != first.Seq {
		t.Errorf("got %+v then %+v", first, second)
	}
	stored, err := b.Get(t.Context(), first.Stream, first.Seq)
	if err != nil {
		t.Fatal(err)
	}
	got, err := event.Decode(stored.Header, stored.Data)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", e) {
		t.Errorf("read back\n%+v\nwant\n%+v", got, e)
	}
}

func TestLargeBodyIsStoredInPartsOnce(t *testing.T) {
	b := testbroker.NewSharded(t, 3)
	for _, size := range []int{stream.MaxInline, stream.MaxInline + 1, 3 << 20, 25 << 20} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			body := make([]byte, size)
			for i := range body {
				body[i] = byte(i * 7)
			}
			e := &event.Event{ID: "e" + strconv.Itoa(size), Source: "/a/b", Type: "a.t", Receiver: "a", SourceID: "b", Body: body}
			first, err := b.StoreEvent(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			if second, err := b.StoreEvent(t.Context(), e); err != nil || !second.Duplicate {
				t.Errorf("stored again: %+v %v", second, err)
			}
			m, err := b.Get(t.Context(), first.Stream, first.Seq)
			if err != nil {
				t.Fatal(err)
			}
			if m.Subject != e.Subject() {
				t.Errorf("the receipt names %s", m.Subject)
			}
			got, err := b.ReadEvent(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Body, body) || got.ID != e.ID {
				t.Errorf("read back %d bytes of %s", len(got.Body), got.ID)
			}
			// Nothing is behind the event: what was stored again left no part.
			if last, err := b.Last(t.Context(), first.Stream, ">"); err != nil || last.Seq != first.Seq {
				t.Errorf("last message: %+v %v", last, err)
			}
		})
	}
}

func TestPartsThatAreGoneOrWrongAreTold(t *testing.T) {
	b := testbroker.New(t)
	e := &event.Event{ID: "e", Source: "/a/b", Type: "a.t", Receiver: "a", SourceID: "b", Body: make([]byte, 1<<20)}
	receipt, err := b.StoreEvent(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	m, err := b.Get(t.Context(), receipt.Stream, receipt.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Purge(t.Context(), receipt.Stream, "belay.part.>"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ReadEvent(t.Context(), m); !errors.Is(err, stream.ErrNotFound) {
		t.Errorf("parts gone: %v", err)
	}
	for _, parts := range []string{"", "x", "0", "-1", "99999", "70000000000"} {
		m.Header["belay-parts"] = []string{parts}
		if _, err := b.ReadEvent(t.Context(), m); !errors.Is(err, stream.ErrUnreadable) {
			t.Errorf("parts %q: %v", parts, err)
		}
	}
}
