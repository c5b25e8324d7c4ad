package stream_test

import (
	"testing"

	"github.com/belay-hooks/belay/pkg/stream"
)

func TestPlace(t *testing.T) {
	p := stream.Place{Shard: 2, Seq: 1207, Run: 3}
	got, err := stream.ParseRetry(stream.RetryDue("orders", p))
	if err != nil || got != p {
		t.Errorf("read %v, %v; want %v", got, err, p)
	}
	for name, subject := range map[string]string{
		"another subject":    "belay.done.due.orders.2.1207.3",
		"no run":             "belay.retry.due.orders.2.1207",
		"one token too many": "belay.retry.due.orders.2.1207.3.4",
		"no shard":           "belay.retry.due.orders.x.1207.3",
		"a negative shard":   "belay.retry.due.orders.-1.1207.3",
		"no number":          "belay.retry.due.orders.2.0.3",
		"a negative run":     "belay.retry.due.orders.2.1207.-3",
		"nothing":            "",
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := stream.ParseRetry(subject); err == nil {
				t.Errorf("%s was read as %v", subject, p)
			}
		})
	}
}

func FuzzParsePlace(f *testing.F) {
	f.Add("0.1.0")
	f.Add("1.18446744073709551615.2")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := stream.ParsePlace(text)
		if err != nil {
			return
		}
		if again, err := stream.ParsePlace(p.String()); err != nil || again != p {
			t.Errorf("%q is %v, which is read as %v, %v", text, p, again, err)
		}
	})
}
