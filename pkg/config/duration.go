// Package config reads what an operator writes: one YAML file for sources and
// chains, and the environment for addresses, the broker and limits. It is
// strict. A field it does not know, a value out of bounds and a name that
// stands for nothing are problems, each told with its line and with what would
// be right, all of them at once.
package config

import (
	"fmt"
	"time"
)

// Duration is a length of time, written as 300ms, 30s, 5m or 72h.
type Duration time.Duration

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the duration as a person writes it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration as it is read.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration, want one such as 300ms, 30s, 5m or 72h", text)
	}
	*d = Duration(v)
	return nil
}
