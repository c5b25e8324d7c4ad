package outbox

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/belay-hooks/belay/internal/expression"
	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/event"
)

// The limits of a subscription's fields, in bytes and entries.
const (
	maxURL         = 2048
	maxDescription = 1024
	maxFilters     = 100
	maxFilter      = 256
	maxSecretText  = 128
	maxWhen        = 1024
	maxHeaders     = 20
	maxHeaderName  = 64
	maxHeaderValue = 1024
	maxProperties  = 50
	maxPropertyKey = 128
	maxProperty    = 8 << 10 // all of them together
	maxSteps       = 32
	maxRate        = 10_000
	maxConcurrency = 1000
)

// The limits of its times.
const (
	minTimeout = 100 * time.Millisecond
	maxTimeout = time.Minute
	// maxSchedule is the sum of a schedule's waits. A notification is kept for
	// longer.
	maxSchedule = 5 * 24 * time.Hour
)

// The fields of a subscription: those that its owner sets, and those that an
// answer shows besides. Who sends back what was read sends both.
var (
	setFields = []string{
		"url", "description", "filters", "private_filters", "when", "headers", "properties", "body", "signing",
		"paused", "rate_limit", "concurrency", "schedule", "timeout",
	}
	shownFields = []string{"id", "tenant", "created", "updated", "disabled", "secrets"}
)

// newSubscription makes a subscription of a request:
//
//	{"url": "https://…", "filters": ["deploy.*"], "description": "…", "secret": "whsec_…"}
//
// Only url is required. Without filters it gets all events, without a secret a
// new one is made.
func newSubscription(body []byte, who caller, policy addressPolicy, now time.Time) (*Subscription, error) {
	f, err := readFields(body)
	if err != nil {
		return nil, err
	}
	f.Only(append(slices.Clone(setFields), "secret")...)
	s := &Subscription{Tenant: who.tenant, Created: now.UTC(), Updated: now.UTC(), Signing: SigningV1}
	if f.Has("signing") {
		s.Signing = oneOf(f, "signing", slices.Sorted(maps.Keys(schemes))...)
	}
	f.settings(s, nil, who, policy)
	s.secrets = []secret{{Text: f.secret("secret", s.Signing), Created: now.UTC()}}
	if err := f.Err(); err != nil {
		return nil, err
	}
	s.ID, err = newSubscriptionID()
	return s, err
}

// replace makes a subscription what a request says. What answers show besides is
// passed over, so that what was read can be sent back.
func (s *Subscription) replace(f fields, who caller, policy addressPolicy, now time.Time) error {
	f.Only(slices.Concat(setFields, shownFields)...)
	if f.Has("signing") && oneOf(f, "signing", s.Signing) != s.Signing {
		f.Bad("want "+string(s.Signing)+", as the subscription was made; another way to sign wants another subscription", "signing")
	}
	old := *s
	f.settings(s, &old, who, policy)
	s.Updated = now.UTC()
	return f.Err()
}

// patch makes the request of a change by a JSON merge patch
// (https://www.rfc-editor.org/rfc/rfc7396): of what the subscription is, and of the
// fields of the patch.
func (s *Subscription) patch(body []byte, who caller) (fields, error) {
	patch, err := readFields(body)
	if err != nil {
		return fields{}, err
	}
	data, err := json.Marshal(who.shown(s))
	if err != nil {
		return fields{}, err
	}
	now, err := readFields(data)
	if err != nil {
		return fields{}, err
	}
	patch.Only(slices.Concat(setFields, shownFields)...)
	now.Errs = patch.Errs
	now.Raw = merge(now.Raw, patch.Raw, 1)
	f := fields{&rest.Fields{Raw: make(map[string]json.RawMessage), Errs: patch.Errs}}
	for name, raw := range now.Raw {
		if slices.Contains(setFields, name) {
			f.Raw[name] = raw
		}
	}
	return f, nil
}

// merge applies a merge patch to an object. Below the fields that hold objects
// themselves, what is new replaces what was there.
func merge(target, patch map[string]json.RawMessage, deeper int) map[string]json.RawMessage {
	merged := maps.Clone(target)
	if merged == nil {
		merged = make(map[string]json.RawMessage)
	}
	for name, raw := range patch {
		var below, onto map[string]json.RawMessage
		switch {
		case string(raw) == "null":
			delete(merged, name)
		case deeper > 0 && json.Unmarshal(raw, &below) == nil:
			_ = json.Unmarshal(merged[name], &onto) // what is no object is replaced
			merged[name], _ = json.Marshal(merge(onto, below, deeper-1))
		default:
			merged[name] = raw
		}
	}
	return merged
}

// settings reads what the owner of a subscription sets. The one that it replaces
// is nil if it is new.
func (f fields) settings(s, old *Subscription, who caller, policy addressPolicy) {
	s.URL = f.url("url", policy)
	s.Description = f.Text("description", maxDescription)
	s.Filters = f.filters("filters")
	s.PrivateFilters = f.privateFilters("private_filters", old, who)
	s.When = f.when("when")
	s.Headers = f.headers("headers", old)
	s.Properties = f.properties("properties")
	s.Body = oneOf(f, "body", BodyRaw, BodyASPNet, BodyCloudEvents)
	s.Paused = f.Bool("paused")
	s.RateLimit = f.Number("rate_limit", 0.001, maxRate)
	s.Concurrency = int(f.Integer("concurrency", 1, maxConcurrency))
	s.Schedule = f.schedule("schedule")
	s.Timeout = f.duration("timeout", minTimeout, maxTimeout)
}

func (f fields) url(name string, policy addressPolicy) string {
	if !f.Has(name) {
		f.Bad("required: the absolute URL that deliveries are posted to", name)
		return ""
	}
	before := len(f.Errs)
	text := f.Text(name, maxURL)
	if len(f.Errs) > before {
		return ""
	}
	text, problem := parseURL(text, policy)
	if problem != "" {
		f.Bad(problem, name)
	}
	return text
}

func (f fields) filters(name string) []string {
	filters := f.Texts(name, maxFilters, maxFilter)
	if filters == nil {
		if f.Has(name) && string(f.Raw[name]) == "[]" {
			f.Bad(`want at least one filter; ["*"] is all events`, name)
		}
		filters = []string{"*"}
	}
	for i, filter := range filters {
		if strings.HasPrefix(strings.ToUpper(filter), "MS_PRIVATE_") {
			f.Bad("want a filter that does not begin with MS_Private_: private filters are the operator's", name, strconv.Itoa(i))
		}
	}
	return f.checkFilters(name, filters)
}

// privateFilters are the operator's to set. Who sends none keeps them.
func (f fields) privateFilters(name string, old *Subscription, who caller) []string {
	if who.access != accessOperator {
		if f.Has(name) {
			f.Bad("private filters are the operator's to set", name)
		}
		if old == nil {
			return nil
		}
		return old.PrivateFilters
	}
	if old != nil && !f.Has(name) {
		return old.PrivateFilters
	}
	return f.checkFilters(name, f.Texts(name, maxFilters, maxFilter))
}

func (f fields) checkFilters(name string, filters []string) []string {
	for i, filter := range filters {
		if _, err := event.ParsePattern(filter); err != nil {
			f.Bad(err.Error(), name, strconv.Itoa(i))
		}
	}
	return filters
}

func (f fields) when(name string) string {
	before := len(f.Errs)
	text := f.Text(name, maxWhen)
	if len(f.Errs) > before || text == "" {
		return ""
	}
	if _, err := expression.NewCondition(text); err != nil {
		f.Bad(err.Error(), name)
	}
	return text
}

// headers reads a map of texts. A hidden value is the old one.
func (f fields) headers(name string, old *Subscription) map[string]string {
	if !f.Has(name) {
		return nil
	}
	var headers map[string]string
	if err := json.Unmarshal(f.Raw[name], &headers); err != nil {
		f.Bad("want an object of strings", name)
		return nil
	}
	if len(headers) > maxHeaders {
		f.Bad("want at most "+strconv.Itoa(maxHeaders)+" headers", name)
		return nil
	}
	seen := make(map[string]bool)
	for _, header := range slices.Sorted(maps.Keys(headers)) {
		if old != nil && headers[header] == hidden {
			if value, ok := old.Headers[header]; ok {
				headers[header] = value
			}
		}
		problem := badHeader(header, headers[header])
		if lower := strings.ToLower(header); problem == "" && seen[lower] {
			problem = "want each header once, however it is capitalised"
		} else {
			seen[lower] = true
		}
		if problem != "" {
			f.Bad(problem, name, header)
		}
	}
	return headers
}

// properties reads a map of any values, and keeps them as they came but for
// blanks.
func (f fields) properties(name string) map[string]json.RawMessage {
	if !f.Has(name) {
		return nil
	}
	var properties map[string]json.RawMessage
	if err := json.Unmarshal(f.Raw[name], &properties); err != nil {
		f.Bad("want an object", name)
		return nil
	}
	if len(properties) > maxProperties || len(f.Raw[name]) > maxProperty {
		f.Bad("want at most "+strconv.Itoa(maxProperties)+" properties of at most "+strconv.Itoa(maxProperty)+" bytes together", name)
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		if key == "" || len(key) > maxPropertyKey {
			f.Bad("want a name of 1 to "+strconv.Itoa(maxPropertyKey)+" bytes", name, key)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, properties[key]); err == nil {
			properties[key] = compact.Bytes()
		}
	}
	return properties
}

// oneOf reads a field that must be one of these; the first one if it is missing.
func oneOf[T ~string](f fields, name string, these ...T) T {
	if !f.Has(name) {
		return these[0]
	}
	before := len(f.Errs)
	text := T(f.Text(name, maxFilter))
	if len(f.Errs) == before && !slices.Contains(these, text) {
		known := make([]string, len(these))
		for i, t := range these {
			known[i] = string(t)
		}
		f.Bad("want one of "+strings.Join(known, ", "), name)
	}
	return text
}

func (f fields) schedule(name string) []Duration {
	texts := f.Texts(name, maxSteps, maxFilter)
	if !f.Has(name) {
		return nil
	}
	schedule := make([]Duration, len(texts))
	var sum time.Duration
	for i, text := range texts {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 || d > maxSchedule {
			f.Bad("want a wait such as 30s, 5m or 2h", name, strconv.Itoa(i))
		}
		schedule[i], sum = Duration(d), sum+max(min(d, maxSchedule), 0)
	}
	if sum > maxSchedule {
		f.Bad("want waits of at most "+maxSchedule.String()+" together", name)
	}
	return schedule
}

func (f fields) duration(name string, least, most time.Duration) Duration {
	if !f.Has(name) {
		return 0
	}
	before := len(f.Errs)
	d, err := time.ParseDuration(f.Text(name, maxFilter))
	if len(f.Errs) == before && (err != nil || d < least || d > most) {
		f.Bad("want a duration from "+least.String()+" to "+most.String()+", such as 15s", name)
	}
	return Duration(d)
}

func (f fields) secret(name string, signing Signing) string {
	how, ok := schemes[signing]
	if !ok {
		return "" // that is told at the field signing
	}
	if !f.Has(name) {
		return how.generate()
	}
	before := len(f.Errs)
	text := f.Text(name, maxSecretText)
	if len(f.Errs) == before {
		if problem := how.check(text); problem != "" {
			f.Bad(problem, name)
		}
	}
	return text
}
