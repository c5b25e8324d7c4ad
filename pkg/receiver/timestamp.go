package receiver

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A clock is a compiled [Timestamp].
type clock struct {
	place
	unit      unit
	tolerance time.Duration
}

// A unit is a way to write a time.
type unit struct {
	parse  func(string) (time.Time, error)
	format func(time.Time) string
}

var units = map[string]unit{
	"s": {
		digits(func(n int64) time.Time { return time.Unix(n, 0) }),
		func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) },
	},
	"ms": {
		digits(time.UnixMilli),
		func(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) },
	},
	"rfc3339": {
		func(s string) (time.Time, error) { return time.Parse(time.RFC3339Nano, s) },
		func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	},
}

var errDigits = errors.New("not a plain decimal number")

// digits reads a number as it would be written: no sign, no leading zero. So
// one time has one text, and what is signed is what was sent.
func digits(from func(int64) time.Time) func(string) (time.Time, error) {
	return func(s string) (time.Time, error) {
		const longest = 15 // of milliseconds, until the year 33658
		if s == "" || len(s) > longest || s[0] == '0' && len(s) > 1 || strings.Trim(s, "0123456789") != "" {
			return time.Time{}, errDigits
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return time.Time{}, errDigits
		}
		return from(n), nil
	}
}

// read finds the timestamp of a request: its text, which is what was signed,
// and its time.
func (c *clock) read(q *request) (string, time.Time, error) {
	text := c.first(q)
	if text == "" {
		return "", time.Time{}, refuse(TimestampMissing, "no timestamp in %s", c.place)
	}
	t, err := c.unit.parse(text)
	if err != nil {
		return "", time.Time{}, refuse(TimestampUnreadable, "the timestamp in %s cannot be read", c.place)
	}
	return text, t, nil
}

// anyTime is the tolerance of a clock that accepts any time. Where time and token
// run together in what is signed, a number with a digit more or less, cut off the
// token, is not a time within it.
const anyTime = 10 * 365 * 24 * time.Hour

// check refuses a time that is too far from now.
func (c *clock) check(t, now time.Time) error {
	tolerance := cmp.Or(c.tolerance, anyTime)
	switch age := now.Sub(t); {
	case age > tolerance:
		return refuse(TimestampStale, "the timestamp is %s old; the tolerance is %s", age.Round(time.Second), tolerance)
	case age < -tolerance: // and not -age: a time beyond all durations has no opposite
		return refuse(TimestampFuture, "the timestamp is %s ahead; the tolerance is %s", t.Sub(now).Round(time.Second), tolerance)
	}
	return nil
}

// clock compiles the timestamp of a form; nil if it asks for none. A tolerance
// of zero leaves the form's.
func (c *compiler) clock(f *Timestamp, tolerance time.Duration) (*clock, error) {
	if f == nil || !c.inScheme(f.Scheme) || f.Header != "" && c.expand(f.Header) == "" {
		if tolerance != 0 {
			return nil, &FieldError{
				Field: "tolerance", Value: tolerance.String(),
				Want: fmt.Sprintf("no tolerance: %s has no signed timestamp", c.receiver.Slug),
			}
		}
		return nil, nil
	}
	if tolerance < 0 {
		return nil, &FieldError{Field: "tolerance", Value: tolerance.String(), Want: "a duration above zero"}
	}
	if tolerance == 0 {
		tolerance = f.Tolerance
	}
	at, err := c.place("timestamp.", f.Place)
	if err != nil {
		return nil, err
	}
	u, err := oneOf(c, "timestamp.unit", f.Unit, units)
	if err != nil {
		return nil, err
	}
	return &clock{place: at, unit: u, tolerance: tolerance}, nil
}
