package webhook

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	testSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	testID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	testBody      = `{"test": 2432232314}`
	testSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

var testTime = time.Unix(1614265330, 0)

func mustSecret(t testing.TB, text string) Secret {
	t.Helper()
	s, err := ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func headers(id, timestamp, signature string) http.Header {
	h := http.Header{}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, timestamp)
	h.Set(HeaderSignature, signature)
	return h
}

func TestGoldenVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []struct {
			Name, Secret, ID, Timestamp, Signature, Body string
			Signs                                        bool
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, v := range file.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			secret := mustSecret(t, v.Secret)
			h := headers(v.ID, v.Timestamp, v.Signature)
			if err := Verify(h, []byte(v.Body), testTime, Tolerance, secret); err != nil {
				t.Errorf("Verify: %v", err)
			}
			if !v.Signs {
				return
			}
			signed := http.Header{}
			if err := Sign(signed, v.ID, testTime, []byte(v.Body), secret); err != nil {
				t.Fatal(err)
			}
			if got := signed.Get(HeaderSignature); got != v.Signature {
				t.Errorf("signature = %q, want %q", got, v.Signature)
			}
			if got := signed.Get(HeaderTimestamp); got != v.Timestamp {
				t.Errorf("timestamp = %q, want %q", got, v.Timestamp)
			}
		})
	}
}

func TestVerify(t *testing.T) {
	at := strconv.FormatInt(testTime.Unix(), 10)
	with := func(edit func(h http.Header)) http.Header {
		h := headers(testID, at, testSignature)
		edit(h)
		return h
	}
	cases := []struct {
		name   string
		header http.Header
		now    time.Time
		want   error
	}{
		{"good", with(func(http.Header) {}), testTime, nil},
		{"at the tolerance's old end", with(func(http.Header) {}), testTime.Add(Tolerance), nil},
		{"at its new end", with(func(http.Header) {}), testTime.Add(-Tolerance), nil},
		{"too old", with(func(http.Header) {}), testTime.Add(Tolerance + time.Second), ErrTimestampStale},
		{"too new", with(func(http.Header) {}), testTime.Add(-Tolerance - time.Second), ErrTimestampFuture},
		{"no id", with(func(h http.Header) { h.Del(HeaderID) }), testTime, ErrIDMissing},
		{"empty id", with(func(h http.Header) { h.Set(HeaderID, "") }), testTime, ErrIDMissing},
		{"two ids", with(func(h http.Header) { h.Add(HeaderID, "other") }), testTime, ErrIDMalformed},
		{"full stop in the id", with(func(h http.Header) { h.Set(HeaderID, "a.b") }), testTime, ErrIDMalformed},
		{"long id", with(func(h http.Header) { h.Set(HeaderID, strings.Repeat("a", 257)) }), testTime, ErrIDMalformed},
		{"no timestamp", with(func(h http.Header) { h.Del(HeaderTimestamp) }), testTime, ErrTimestampMissing},
		{"two timestamps", with(func(h http.Header) { h.Add(HeaderTimestamp, at) }), testTime, ErrTimestampMalformed},
		{"plus sign", with(func(h http.Header) { h.Set(HeaderTimestamp, "+"+at) }), testTime, ErrTimestampMalformed},
		{"minus sign", with(func(h http.Header) { h.Set(HeaderTimestamp, "-"+at) }), testTime, ErrTimestampMalformed},
		{"leading zero", with(func(h http.Header) { h.Set(HeaderTimestamp, "0"+at) }), testTime, ErrTimestampMalformed},
		{"space", with(func(h http.Header) { h.Set(HeaderTimestamp, at+" ") }), testTime, ErrTimestampMalformed},
		{"fraction", with(func(h http.Header) { h.Set(HeaderTimestamp, at+".0") }), testTime, ErrTimestampMalformed},
		{"overflow", with(func(h http.Header) { h.Set(HeaderTimestamp, strings.Repeat("9", 30)) }), testTime, ErrTimestampMalformed},
		{"no signature", with(func(h http.Header) { h.Del(HeaderSignature) }), testTime, ErrSignatureMissing},
		{"unknown version only", with(func(h http.Header) { h.Set(HeaderSignature, "v2,AAAA v2,BBBB") }), testTime, ErrSignatureMissing},
		{"no version", with(func(h http.Header) { h.Set(HeaderSignature, testSignature[3:]) }), testTime, ErrSignatureMissing},
		{"empty v1", with(func(h http.Header) { h.Set(HeaderSignature, "v1,") }), testTime, ErrSignatureMissing},
		{"wrong", with(func(h http.Header) { h.Set(HeaderSignature, "v1,AAAA") }), testTime, ErrSignatureWrong},
		{"without padding", with(func(h http.Header) { h.Set(HeaderSignature, strings.TrimSuffix(testSignature, "=")) }), testTime, ErrSignatureWrong},
		{"separated by commas", with(func(h http.Header) { h.Set(HeaderSignature, testSignature+", v1,AAAA") }), testTime, nil},
		{"on two lines", with(func(h http.Header) { h[http.CanonicalHeaderKey(HeaderSignature)] = []string{"v1,AAAA", testSignature} }), testTime, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := Verify(c.header, []byte(testBody), c.now, Tolerance, mustSecret(t, testSecret))
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	if err := Verify(with(func(http.Header) {}), []byte(testBody+" "), testTime, Tolerance, mustSecret(t, testSecret)); !errors.Is(err, ErrSignatureWrong) {
		t.Errorf("another body: %v", err)
	}
	if err := Verify(with(func(http.Header) {}), []byte(testBody), testTime, Tolerance); !errors.Is(err, ErrNoSecret) {
		t.Errorf("without a secret: %v", err)
	}
	if err := Verify(with(func(http.Header) {}), []byte(testBody), testTime, Tolerance, Secret{}); !errors.Is(err, ErrNoSecret) {
		t.Errorf("with the zero secret: %v", err)
	}
}

func TestRotation(t *testing.T) {
	older, newer := NewSecret(), NewSecret()
	h := http.Header{}
	if err := Sign(h, "msg_1", testTime, []byte("body"), newer, older); err != nil {
		t.Fatal(err)
	}
	if n := len(strings.Fields(h.Get(HeaderSignature))); n != 2 {
		t.Fatalf("%d signatures, want 2", n)
	}
	for name, secret := range map[string]Secret{"newer": newer, "older": older} {
		if err := Verify(h, []byte("body"), testTime, Tolerance, secret); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Verify(h, []byte("body"), testTime, Tolerance, NewSecret(), older); err != nil {
		t.Errorf("the subscriber's rotation: %v", err)
	}
	if err := Verify(h, []byte("body"), testTime, Tolerance, NewSecret()); !errors.Is(err, ErrSignatureWrong) {
		t.Errorf("a stranger's secret: %v", err)
	}
}

func TestSignRefuses(t *testing.T) {
	cases := []struct {
		name, id string
		at       time.Time
		secrets  []Secret
		want     error
	}{
		{"no id", "", testTime, []Secret{NewSecret()}, ErrIDMissing},
		{"header injection", "a\r\nx: y", testTime, []Secret{NewSecret()}, ErrIDMalformed},
		{"before 1970", "a", time.Unix(-1, 0), []Secret{NewSecret()}, ErrTimestampMalformed},
		{"no secret", "a", testTime, nil, ErrNoSecret},
		{"zero secret", "a", testTime, []Secret{{}}, ErrNoSecret},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			if err := Sign(h, c.id, c.at, nil, keysOf(c.secrets)...); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if len(h) != 0 {
				t.Errorf("headers were set: %v", h)
			}
		})
	}
}

func TestParseSecret(t *testing.T) {
	encode := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	cases := []struct {
		name, text string
		ok         bool
	}{
		{"24 bytes", encode(24), true},
		{"64 bytes", encode(64), true},
		{"23 bytes", encode(23), false},
		{"65 bytes", encode(65), false},
		{"empty", "", false},
		{"no prefix", strings.TrimPrefix(testSecret, "whsec_"), false},
		{"private key of another scheme", "whsk_" + strings.TrimPrefix(testSecret, "whsec_"), false},
		{"line break", testSecret + "\n", false},
		{"not base64", "whsec_" + strings.Repeat("!", 40), false},
		{"no padding", strings.TrimRight(encode(25), "="), false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, err := ParseSecret(c.text)
			if c.ok != (err == nil) || !c.ok && !errors.Is(err, ErrSecret) {
				t.Fatalf("err = %v, want ok = %v", err, c.ok)
			}
			if c.ok && s.Reveal() != c.text {
				t.Errorf("Reveal = %q, want %q", s.Reveal(), c.text)
			}
		})
	}
	if a, b := NewSecret().Reveal(), NewSecret().Reveal(); a == b {
		t.Error("two new secrets are the same")
	}
}

func TestSecretStaysSecret(t *testing.T) {
	s := NewSecret()
	inside := struct{ hidden Secret }{s}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "in", struct{ S Secret }{s})
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "in", inside)
	marshalled, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	shown := log.String() + string(marshalled) +
		fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s) + fmt.Sprintf("%v %+v %#v", inside, inside, inside)
	for _, leak := range []string{s.Reveal(), s.Reveal()[6:], fmt.Sprintf("%d", *s.key), fmt.Sprintf("%x", *s.key), fmt.Sprintf("%#v", *s.key)} {
		if strings.Contains(shown, leak) {
			t.Errorf("the secret shows in %s", shown)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(testID, "1614265330", testSignature, []byte(testBody))
	f.Add("a.b", "+1", "v1,", []byte(nil))
	f.Add("", "00", "v1a,x v1, ,", []byte("."))
	secret := mustSecret(f, testSecret)
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		h := headers(id, timestamp, signature)
		if Verify(h, body, testTime, Tolerance, secret) != nil {
			return
		}
		// Whatever is accepted is what Sign writes for it.
		seconds, err := strconv.ParseInt(timestamp, 10, 64)
		if err != nil {
			t.Fatalf("accepted the timestamp %q", timestamp)
		}
		again := http.Header{}
		if err := Sign(again, id, time.Unix(seconds, 0), body, secret); err != nil {
			t.Fatalf("accepted what Sign refuses: %v", err)
		}
		if again.Get(HeaderTimestamp) != timestamp || !strings.Contains(signature, again.Get(HeaderSignature)) {
			t.Fatalf("accepted %v, Sign writes %v", h, again)
		}
	})
}

func FuzzSignVerify(f *testing.F) {
	f.Add("msg_1", int64(1614265330), []byte("{}"))
	secret := mustSecret(f, testSecret)
	f.Fuzz(func(t *testing.T, id string, seconds int64, body []byte) {
		at := time.Unix(seconds%99999999999, 0)
		h := http.Header{}
		if Sign(h, id, at, body, secret) != nil {
			return
		}
		if err := Verify(h, body, at, 0, secret); err != nil {
			t.Fatalf("%v: %v", h, err)
		}
	})
}

func FuzzParseSecret(f *testing.F) {
	f.Add(testSecret)
	f.Add("whsec_")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseSecret(text); err == nil && s.Reveal() != text {
			t.Fatalf("%q is accepted and reads %q", text, s.Reveal())
		}
	})
}

func keysOf(secrets []Secret) []SigningKey {
	keys := make([]SigningKey, len(secrets))
	for i, s := range secrets {
		keys[i] = s
	}
	return keys
}
