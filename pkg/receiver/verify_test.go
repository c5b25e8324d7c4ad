package receiver

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// cases is one source of each receiver, with what its requests need.
func cases(tb testing.TB) map[string]*Source {
	tb.Helper()
	return map[string]*Source{
		"github":            newSource(tb, SourceConfig{Receiver: "github"}),
		"stripe":            newSource(tb, SourceConfig{Receiver: "stripe"}),
		"standard-webhooks": newSource(tb, SourceConfig{Receiver: "standard-webhooks"}),
		"generic": newSource(tb, SourceConfig{Receiver: "generic", Params: map[string]string{
			"timestamp": "X-Time", "unit": "rfc3339", "content": "{timestamp}{body}", "encoding": "base64",
		}}),
	}
}

var someBody = []byte(`{"id":"evt_1","type":"a.b"}`)

func TestEachByteCounts(t *testing.T) {
	for name, s := range cases(t) {
		t.Run(name, func(t *testing.T) {
			genuine := signed(t, s, "application/json", someBody, nil)
			if err := s.verify(&request{Request: genuine, body: someBody}, now); err != nil {
				t.Fatal(err)
			}
			for i := range someBody {
				changed := slices.Clone(someBody)
				changed[i] ^= 1
				if err := s.verify(&request{Request: genuine, body: changed}, now); reasonOf(err) != SignatureWrong {
					t.Fatalf("byte %d of the body changed: %v", i, err)
				}
			}
			for _, header := range s.single {
				value := genuine.Header.Get(header)
				for i := range len(value) {
					forged := genuine.Clone(t.Context())
					forged.Header.Set(header, value[:i]+string(value[i]^1)+value[i+1:])
					if header == "X-Github-Delivery" || header == "X-Request-Id" {
						continue // not signed by these senders
					}
					if err := s.verify(&request{Request: forged, body: someBody}, now); err == nil && !padding(value, i) {
						t.Fatalf("byte %d of %s changed, and accepted: %s", i, header, forged.Header.Get(header))
					}
				}
			}
		})
	}
}

// padding reports whether the byte is the padding of base64, or the last digit
// before it, of which some bits mean nothing.
func padding(value string, i int) bool {
	return strings.HasSuffix(value, "=") && i >= len(strings.TrimRight(value, "="))-1
}

func TestTolerance(t *testing.T) {
	minute := newSource(t, SourceConfig{Receiver: "stripe", Tolerance: time.Minute})
	all := cases(t)
	for name, test := range map[string]struct {
		source *Source
		late   time.Duration
		want   Reason
	}{
		"in time":                {all["stripe"], 0, ""},
		"at the end":             {all["stripe"], 5 * time.Minute, ""},
		"stale":                  {all["stripe"], 5*time.Minute + time.Second, TimestampStale},
		"at the beginning":       {all["stripe"], -5 * time.Minute, ""},
		"future":                 {all["stripe"], -5*time.Minute - time.Second, TimestampFuture},
		"beyond all durations":   {all["stripe"], -1 << 63, TimestampFuture},
		"own tolerance":          {minute, time.Minute + time.Second, TimestampStale},
		"standard stale":         {all["standard-webhooks"], time.Hour, TimestampStale},
		"standard future":        {all["standard-webhooks"], -time.Hour, TimestampFuture},
		"rfc3339 stale":          {all["generic"], time.Hour, TimestampStale},
		"no timestamp, any time": {all["github"], 1000 * time.Hour, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := signed(t, test.source, "application/json", someBody, nil)
			_, err := test.source.Receive(r, someBody, now.Add(test.late))
			if reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	good := strings.Repeat("ab", 32)
	for name, test := range map[string]struct {
		receiver string
		change   func(h http.Header)
		want     Reason
	}{
		"no signature":          {"github", func(h http.Header) { h.Del("X-Hub-Signature-256") }, SignatureMissing},
		"empty signature":       {"github", func(h http.Header) { h.Set("X-Hub-Signature-256", "") }, SignatureMissing},
		"signature twice":       {"github", func(h http.Header) { h.Add("X-Hub-Signature-256", "sha256="+good) }, HeaderRepeated},
		"event twice":           {"github", func(h http.Header) { h["X-Github-Event"] = []string{"push", "ping"} }, HeaderRepeated},
		"no prefix":             {"github", func(h http.Header) { h.Set("X-Hub-Signature-256", good) }, SignatureWrong},
		"other hash":            {"github", func(h http.Header) { h.Set("X-Hub-Signature-256", "sha1="+good) }, SignatureWrong},
		"no hex":                {"github", func(h http.Header) { h.Set("X-Hub-Signature-256", "sha256=zz") }, SignatureWrong},
		"too short":             {"github", func(h http.Header) { h.Set("X-Hub-Signature-256", "sha256=abcd") }, SignatureWrong},
		"no v1":                 {"stripe", func(h http.Header) { h.Set("Stripe-Signature", "t=1795341600,v0="+good) }, SignatureWrong},
		"no t":                  {"stripe", func(h http.Header) { h.Set("Stripe-Signature", "v1="+good) }, TimestampMissing},
		"empty t":               {"stripe", func(h http.Header) { h.Set("Stripe-Signature", "t=,v1="+good) }, TimestampMissing},
		"t with a sign":         {"stripe", func(h http.Header) { h.Set("Stripe-Signature", "t=+1795341600,v1="+good) }, TimestampUnreadable},
		"t with a leading zero": {"stripe", func(h http.Header) { h.Set("Stripe-Signature", "t=01795341600,v1="+good) }, TimestampUnreadable},
		"endless t":             {"stripe", func(h http.Header) { h.Set("Stripe-Signature", "t="+strings.Repeat("9", 99)+",v1="+good) }, TimestampUnreadable},
		"endless header": {"stripe", func(h http.Header) {
			h.Set("Stripe-Signature", h.Get("Stripe-Signature")+strings.Repeat(",v1=00", 1000))
		}, TimestampMissing},
		"no webhook-timestamp":      {"standard-webhooks", func(h http.Header) { h.Del("Webhook-Timestamp") }, TimestampMissing},
		"no webhook-id":             {"standard-webhooks", func(h http.Header) { h.Del("Webhook-Id") }, SignedMissing},
		"webhook-id twice":          {"standard-webhooks", func(h http.Header) { h.Add("Webhook-Id", "x") }, HeaderRepeated},
		"webhook-timestamp twice":   {"standard-webhooks", func(h http.Header) { h.Add("Webhook-Timestamp", "x") }, HeaderRepeated},
		"only versions of others":   {"standard-webhooks", func(h http.Header) { h.Set("Webhook-Signature", "v1a,AAAA v2,AAAA") }, SignatureWrong},
		"signature without version": {"standard-webhooks", func(h http.Header) { h.Set("Webhook-Signature", h.Get("Webhook-Signature")[3:]) }, SignatureWrong},
	} {
		t.Run(name, func(t *testing.T) {
			s := cases(t)[test.receiver]
			r := signed(t, s, "application/json", someBody, nil)
			test.change(r.Header)
			_, err := s.Receive(r, someBody, now)
			if reasonOf(err) != test.want {
				t.Fatalf("error %v, want %s", err, test.want)
			}
			if strings.Contains(err.Error(), "whsec") || strings.Contains(err.Error(), good) {
				t.Errorf("the error tells too much: %v", err)
			}
		})
	}
}

func TestAcceptedVariants(t *testing.T) {
	junk := strings.Repeat("0", 64)
	for name, test := range map[string]struct {
		receiver, header string
		change           func(value string) string
	}{
		"hex in capitals":        {"github", "X-Hub-Signature-256", func(v string) string { return "sha256=" + strings.ToUpper(v[7:]) }},
		"several v1":             {"stripe", "Stripe-Signature", func(v string) string { return "v1=" + junk + "," + v }},
		"malformed v1 beside":    {"stripe", "Stripe-Signature", func(v string) string { return "v1=xyz,v1," + v }},
		"unknown keys":           {"stripe", "Stripe-Signature", func(v string) string { return "v0=1,=,x," + v + ",y=2" }},
		"blanks between":         {"stripe", "Stripe-Signature", func(v string) string { return strings.ReplaceAll(v, ",", ", ") }},
		"several versions":       {"standard-webhooks", "Webhook-Signature", func(v string) string { return "v1a,AAAA v1,AAAA " + v + " v2,BBBB" }},
		"joined with a comma":    {"standard-webhooks", "Webhook-Signature", func(v string) string { return v + ", v1,AAAA" }},
		"base64 without padding": {"standard-webhooks", "Webhook-Signature", func(v string) string { return strings.TrimRight(v, "=") }},
	} {
		t.Run(name, func(t *testing.T) {
			s := cases(t)[test.receiver]
			r := signed(t, s, "application/json", someBody, nil)
			r.Header.Set(test.header, test.change(r.Header.Get(test.header)))
			if _, err := s.Receive(r, someBody, now); err != nil {
				t.Errorf("%s: %v", r.Header.Get(test.header), err)
			}
		})
	}
}

func TestCandidatesAreBounded(t *testing.T) {
	s := cases(t)["stripe"]
	for count, want := range map[int]Reason{maxCandidates - 1: "", maxCandidates: SignatureWrong} {
		r := signed(t, s, "application/json", someBody, nil)
		r.Header.Set("Stripe-Signature", strings.Repeat("v1=00,", count)+r.Header.Get("Stripe-Signature"))
		if _, err := s.Receive(r, someBody, now); reasonOf(err) != want {
			t.Errorf("%d junk signatures before the good one: %v, want %q", count, err, want)
		}
	}
}

func TestSecretsInRotation(t *testing.T) {
	source := func(secrets ...Secret) *Source {
		return newSource(t, SourceConfig{Receiver: "github", Secrets: secrets})
	}
	for name, test := range map[string]struct {
		sender, receiver *Source
		want             Reason
	}{
		"first of two":           {source(text("old")), source(text("old"), text("new")), ""},
		"second of two":          {source(text("new")), source(text("old"), text("new")), ""},
		"neither":                {source(text("other")), source(text("old"), text("new")), SignatureWrong},
		"one cannot be read":     {source(text("new")), source(broken{}, text("new")), ""},
		"other cannot be read":   {source(text("old")), source(broken{}, text("new")), SecretUnavailable},
		"none can be read":       {source(text("old")), source(broken{}), SecretUnavailable},
		"emptied after the fact": {source(text("old")), source(&vanishing{}), SecretUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.receiver.Receive(signed(t, test.sender, "application/json", someBody, nil), someBody, now)
			if reasonOf(err) != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// vanishing is a secret that is empty from the second time it is read, as a
// file that somebody truncates. An empty key must not verify anything.
type vanishing struct{ read bool }

func (v *vanishing) Value() (string, error) {
	if v.read {
		return "", nil
	}
	v.read = true
	return "old", nil
}

func TestSignErrors(t *testing.T) {
	s := newSource(t, SourceConfig{Receiver: "github", Secrets: []Secret{broken{}}})
	if _, err := s.Sign(newRequest("application/json", nil), nil, now); err == nil {
		t.Error("signed with a secret that cannot be read")
	}
	s = newSource(t, SourceConfig{Receiver: "generic", Params: map[string]string{"content": "{header:X-Host}{body}"}})
	if _, err := s.Sign(newRequest("application/json", nil), nil, now); err == nil || !strings.Contains(err.Error(), "X-Host") {
		t.Errorf("signed without a header that is signed: %v", err)
	}
}
