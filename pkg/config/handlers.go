package config

import (
	"strings"
)

// CheckpointAlways keeps where a chain stands after every handler.
const CheckpointAlways = "always"

// Publish sends an event to a subject of the NATS server, in CloudEvents binary mode.
type Publish struct {
	// Subject is filled from the event: {receiver}, {source}, {type}, {name} and {key},
	// and the placeholders of receiver.Text. A value is one token.
	Subject string `yaml:"subject"`
	// Core publishes without a stream: whoever subscribes at that moment gets the
	// message, and nobody confirms it. Without it, a stream has to take the subject.
	Core bool `yaml:"core"`
}

// Transform runs a query in jq over the event. Its result is the body that the later
// handlers of the chain see, or a value.
type Transform struct {
	// JQ is the query. Its input is the body.
	JQ string `yaml:"jq"`
	// Keep leaves the result on the event, as the value of this name, and the body as
	// it is. Empty: the result is the body.
	Keep string `yaml:"keep"`
}

// kinds are what a step may do, by the name that it has in the file.
var kinds = []struct {
	name  string
	set   func(h *Handler) bool
	check func(v *validator, h *Handler, path string)
}{
	{"http", func(h *Handler) bool { return h.HTTP != nil }, func(v *validator, h *Handler, path string) { v.http(h.HTTP, path) }},
	{"notify", func(h *Handler) bool { return h.Notify != nil }, func(v *validator, h *Handler, path string) { v.notify(h.Notify, path) }},
	{"publish", func(h *Handler) bool { return h.Publish != nil }, func(v *validator, h *Handler, path string) { v.publish(h.Publish, path) }},
	{"respond", func(h *Handler) bool { return h.Respond != nil }, func(v *validator, h *Handler, path string) { v.respond(h.Respond, path) }},
	{"reply", func(h *Handler) bool { return h.Reply != nil }, func(v *validator, h *Handler, path string) { v.reply(h.Reply, path) }},
	{"transform", func(h *Handler) bool { return h.Transform != nil }, func(v *validator, h *Handler, path string) { v.transform(h.Transform, path) }},
	{"filter", func(h *Handler) bool { return h.Filter != "" }, func(*validator, *Handler, string) {}},
	{"log", func(h *Handler) bool { return h.Log != nil }, func(v *validator, h *Handler, path string) { v.log(h.Log, path) }},
}

// Kinds are what a handler may do: http, notify, publish and so on.
func Kinds() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// Kind is what the step does, as [Kinds] names it; empty where nothing is set.
func (h *Handler) Kind() string {
	for _, k := range kinds {
		if k.set(h) {
			return k.name
		}
	}
	return ""
}

func (v *validator) handler(h *Handler, path string) {
	v.positive(path+".timeout", h.Timeout)
	v.checkpoint(path+".checkpoint", h.Checkpoint)
	var set []string
	for _, k := range kinds {
		if k.set(h) {
			set = append(set, k.name)
			k.check(v, h, child(path, k.name))
		}
	}
	if len(set) != 1 {
		v.wrong(path, strings.Join(set, ", "), "want exactly one of "+strings.Join(Kinds(), ", "))
	}
}

func (v *validator) checkpoint(path, value string) {
	if value != "" && value != CheckpointAlways {
		v.wrong(path, value, "want always, or no checkpoint")
	}
}

func (v *validator) publish(p *Publish, path string) {
	if p.Subject == "" {
		v.wrong(path+".subject", "", "missing, want a subject such as orders.{json:id}")
	}
}

func (v *validator) transform(t *Transform, path string) {
	if t.JQ == "" {
		v.wrong(path+".jq", "", "missing, want a query such as {id: .id}")
	}
	if t.Keep != "" {
		v.name(path+".keep", t.Keep)
	}
}
