package webhook

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// testSeed is half a key.
const (
	testSeed = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=" // the first of RFC 8032, section 7.1
)

func TestAsymmetric(t *testing.T) {
	t.Parallel()
	key, err := ParsePrivateKey("whsk_" + testSeed)
	if err != nil {
		t.Fatal(err)
	}
	if got := key.Public().String(); got != "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" {
		t.Errorf("the public key is %s", got)
	}
	again, err := ParsePrivateKey(key.Reveal())
	if err != nil || again.Reveal() != key.Reveal() {
		t.Fatalf("%v", err)
	}
	public, err := ParsePublicKey(key.Public().String())
	if err != nil {
		t.Fatal(err)
	}
	other := NewPrivateKey()
	h := http.Header{}
	if err := Sign(h, "msg_1", testTime, []byte("body"), other, key); err != nil {
		t.Fatal(err)
	}
	if got := h.Get(HeaderSignature); strings.Count(got, "v1a,") != 2 {
		t.Errorf("signed %s", got)
	}
	for name, c := range map[string]struct {
		body string
		keys []VerifyingKey
		want error
	}{
		"signed by it":       {"body", []VerifyingKey{public}, nil},
		"one of several":     {"body", []VerifyingKey{NewSecret(), NewPrivateKey().Public(), public}, nil},
		"the other":          {"body", []VerifyingKey{other.Public()}, nil},
		"a third":            {"body", []VerifyingKey{NewPrivateKey().Public()}, ErrSignatureWrong},
		"a symmetric secret": {"body", []VerifyingKey{NewSecret()}, ErrSignatureWrong},
		"another body":       {"body ", []VerifyingKey{public}, ErrSignatureWrong},
		"no key":             {"body", []VerifyingKey{PublicKey{}}, ErrNoSecret},
	} {
		if err := Verify(h, []byte(c.body), testTime, Tolerance, c.keys...); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// Both schemes beside each other, as while a subscriber goes over to the other.
	secret := NewSecret()
	if err := Sign(h, "msg_1", testTime, nil, secret, key); err != nil {
		t.Fatal(err)
	}
	for _, k := range []VerifyingKey{secret, public} {
		if err := Verify(h, nil, testTime, Tolerance, k); err != nil {
			t.Error(err)
		}
	}
	h.Set(HeaderSignature, strings.ReplaceAll(h.Get(HeaderSignature), "v1a,", "v1a,="))
	if err := Verify(h, nil, testTime, Tolerance, public); !errors.Is(err, ErrSignatureWrong) {
		t.Errorf("a damaged signature: %v", err)
	}
}

// Svix's server signs so (test_asymmetric_key_signing in
// https://github.com/svix/svix-webhooks/blob/main/server/svix-server/src/worker.rs).
func TestAsymmetricVector(t *testing.T) {
	t.Parallel()
	key, err := ParsePrivateKey("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==")
	if err != nil {
		t.Fatal(err)
	}
	if got := key.Public().String(); got != "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=" {
		t.Errorf("the public key is %s", got)
	}
	h := http.Header{}
	if err := Sign(h, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`), key); err != nil {
		t.Fatal(err)
	}
	if got := h.Get(HeaderSignature); got != "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==" {
		t.Errorf("signed %s", got)
	}
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	whole := NewPrivateKey().Reveal()
	mixed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(whole, "whsk_"))
	if err != nil {
		t.Fatal(err)
	}
	mixed[40] ^= 1
	for _, text := range []string{
		"", "whsk_", "whsk_?", strings.TrimPrefix(whole, "whsk_"), "whsec_" + testSeed, "whsk_" + testSeed + "\n",
		"whsk_" + base64.StdEncoding.EncodeToString(mixed[:33]), "whsk_" + base64.StdEncoding.EncodeToString(mixed),
	} {
		if _, err := ParsePrivateKey(text); !errors.Is(err, ErrPrivateKey) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "whpk_", "whsk_" + testSeed, "whpk_" + base64.StdEncoding.EncodeToString(mixed[:31])} {
		if _, err := ParsePublicKey(text); !errors.Is(err, ErrPublicKey) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if !(PrivateKey{}).Public().IsZero() || (PrivateKey{}).Reveal() != "" || (PublicKey{}).String() != "" {
		t.Error("no key is one")
	}
}

func TestPrivateKeyIsHidden(t *testing.T) {
	t.Parallel()
	key := NewPrivateKey()
	inside := struct{ Key PrivateKey }{key}
	data, err := json.Marshal(inside)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(key), fmt.Sprintf("%#v %+v %x %q", inside, inside, inside, key), string(data), key.String(), key.LogValue().String(),
	} {
		if !strings.Contains(text, redactedPrivate) || strings.Contains(text, key.Reveal()[5:20]) {
			t.Errorf("shown: %s", text)
		}
	}
}
