package event

import (
	"encoding/json"
	"fmt"
)

// Values are what the handlers of a chain hand to those after them, as JSON so
// that they survive a retry on another machine. The zero value is ready to use.
type Values map[string]json.RawMessage

// Set stores v under key. It fails if v has no JSON form.
func (v *Values) Set(key string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("value %q: %w", key, err)
	}
	if *v == nil {
		*v = make(Values)
	}
	(*v)[key] = data
	return nil
}

// Get reads the value of key into the pointer into, and reports whether there
// is one.
func (v Values) Get(key string, into any) (bool, error) {
	data, ok := v[key]
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return true, fmt.Errorf("value %q: %w", key, err)
	}
	return true, nil
}

// BodyValue is the value that stands for the body after [Event.SetBody].
const BodyValue = "$body"

// SetBody gives the later handlers of this chain another body: v as JSON. Like a
// value, it survives a retry. Other chains, a dead letter and a replay have the body
// that came in.
func (e *Event) SetBody(v any) error {
	if err := e.Values.Set(BodyValue, v); err != nil {
		return err
	}
	e.UseValues(e.Values)
	return nil
}

// UseValues gives the event what earlier handlers of the chain have left, their body
// included.
func (e *Event) UseValues(v Values) {
	e.Values = v
	if body, ok := v[BodyValue]; ok {
		e.Body, e.ContentType = body, "application/json"
	}
}
