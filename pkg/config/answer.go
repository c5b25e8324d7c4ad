package config

import (
	"fmt"
	"slices"
	"strings"
)

// Answer says who answers the sender of a webhook that was stored.
type Answer struct {
	// Wait is the name of a chain: its Response is the answer, if it comes inside
	// what the sender waits; else the receiver's success answer is.
	Wait string `yaml:"wait"`
	// InCode says that the chain is not in this file, but in the code of a worker.
	InCode bool `yaml:"in_code"`
}

// Respond ends a chain with an answer for the sender.
type Respond struct {
	// Status is the HTTP status, 200 to 599. Default: 200.
	Status int `yaml:"status"`
	// ContentType is the media type of the body. Default: text/plain; charset=utf-8.
	ContentType string `yaml:"content_type"`
	// Headers are further headers.
	Headers map[string]string `yaml:"headers"`
	// Body is a text that is filled from the event; see receiver.Text.
	Body string `yaml:"body"`
}

// Reply hands the outbox a message to a URL that stands in the event: Slack's
// response_url, Discord's follow-ups. One of Body and Value is set.
type Reply struct {
	// To is the URL: a text that is filled from the event; see receiver.Text.
	To string `yaml:"to"`
	// Hosts are those that the URL may have, such as hooks.slack.com, with the port
	// where it is not that of the scheme.
	Hosts []string `yaml:"hosts"`
	// ContentType is the media type of the body. Default: application/json.
	ContentType string `yaml:"content_type"`
	// Body is a text that is filled from the event.
	Body string `yaml:"body"`
	// Value is the name of what an earlier handler left on the event, which is the
	// body: a text as it is, anything else as JSON.
	Value string `yaml:"value"`
	// Tenant is whose delivery it is. Default: "default".
	Tenant string `yaml:"tenant"`
}

func (r *Respond) setDefaults() { r.Status, r.ContentType = 200, "text/plain; charset=utf-8" }
func (r *Reply) setDefaults()   { r.ContentType, r.Tenant = "application/json", DefaultTenant }

// answer checks that the chain which is waited for is there, and gets the events.
func (v *validator) answer(s *Source, path string) {
	if s.Answer == nil {
		return
	}
	path += ".wait"
	name := s.Answer.Wait
	switch chain := v.file.Chain(name); {
	case name == "":
		v.wrong(path, "", "missing, want the name of the chain whose Response is the answer")
	case chain == nil && s.Answer.InCode:
		v.name(path, name)
	case chain == nil:
		v.wrong(path, name, "want a chain of the chains below; where it is in the code of a worker of yours, say in_code: true beside it")
	case s.Answer.InCode:
		v.wrong(path, name, "a chain of this name is in the file, want no in_code")
	case !chain.Selects(s):
		i := slices.IndexFunc(v.file.Chains, func(c Chain) bool { return c.Name == name })
		v.wrong(path, name, fmt.Sprintf("the chain of line %d does not take the events of %s, want it in the chain's from",
			v.file.index.line(element("chains", i)), s.Name()))
	}
}

func (v *validator) respond(r *Respond, path string) {
	if r.Status < 200 || r.Status > 599 {
		v.wrong(path+".status", fmt.Sprint(r.Status), "want the status of an answer, 200 to 599")
	}
	v.contentType(path, r.ContentType)
	v.headers(r.Headers, path+".headers")
}

func (v *validator) reply(r *Reply, path string) {
	if r.To == "" {
		v.wrong(path+".to", "", `missing, want the URL as it stands in the event, such as "{form:response_url}"`)
	}
	if len(r.Hosts) == 0 {
		v.wrong(path+".hosts", "", "missing, want the hosts that the URL may have, such as [hooks.slack.com]")
	}
	for i, host := range r.Hosts {
		if host == "" || strings.ContainsAny(host, "/@*?# \t") || host != strings.ToLower(host) {
			v.wrong(element(path+".hosts", i), host, "want the name of a host in lower case, such as hooks.slack.com, without scheme, path and *")
		}
	}
	if (r.Body == "") == (r.Value == "") {
		v.wrong(path, "", "want exactly one of body and value")
	}
	v.contentType(path, r.ContentType)
	v.name(path+".tenant", r.Tenant)
}

func (v *validator) contentType(path, value string) {
	if !strings.Contains(value, "/") || strings.ContainsAny(value, "\r\n\x00") {
		v.wrong(path+".content_type", value, "want a media type, such as application/json")
	}
}

// headers checks headers that are set. A value may be a credential: only the name
// is shown.
func (v *validator) headers(headers map[string]string, path string) {
	for name, value := range headers {
		if !headerName.MatchString(name) || strings.ContainsAny(value, "\r\n\x00") {
			v.wrong(child(path, name), "", "want the name and the value of an HTTP header, on one line")
		}
	}
}
