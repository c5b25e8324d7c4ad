package bench

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
)

// NewNotifications connects to the broker at the URL, to store notifications with
// bodies of so many bytes as the outbox's API would. A body begins as [Stamp] writes
// it.
func NewNotifications(ctx context.Context, url string, size int) (*Events, error) {
	e, err := NewEvents(ctx, url, size)
	if err != nil {
		return nil, err
	}
	e.make = func(number int64) *event.Event {
		now := time.Now()
		return &event.Event{
			ID: strconv.FormatInt(number, 10), Source: "/bench", Type: "bench", Time: now, Tenant: "default",
			ContentType: "application/json", Body: Stamp(number, now, size),
		}
	}
	return e, nil
}

// stampLayout has the same length for all times.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

// Stamp is a body of about so many bytes with its number and when it was sent.
func Stamp(number int64, sent time.Time, size int) []byte {
	b := stamp(number, sent)
	b = append(b, `,"pad":"`...)
	b = append(b, bytes.Repeat([]byte("x"), max(size-len(b)-2, 0))...)
	return append(b, `"}`...)
}

// stamp is how the body begins; it has the same length for all numbers and times.
func stamp(number int64, sent time.Time) []byte {
	return fmt.Appendf(nil, `{"sent":%q,"number":%*d`, sent.UTC().Format(stampLayout), numberSize, number)
}

// ReadStamp reads what [Stamp] wrote.
func ReadStamp(body []byte) (number int64, sent time.Time, err error) {
	var text string
	if _, err = fmt.Sscanf(string(body[:min(len(body), 90)]), `{"sent":%q,"number":%d,`, &text, &number); err != nil {
		return 0, sent, err
	}
	sent, err = time.Parse(stampLayout, text)
	return number, sent, err
}
