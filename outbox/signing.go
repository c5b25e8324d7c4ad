package outbox

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/webhook"
)

// Signing is how the requests to a subscription are signed.
type Signing string

// The ways to sign.
const (
	// SigningV1 is the symmetric signature of Standard Webhooks.
	SigningV1 Signing = "v1"
	// SigningV1a is the asymmetric one: subscribers verify with a public key.
	SigningV1a Signing = "v1a"
	// SigningASPNet is the header ms-signature of ASP.NET WebHooks.
	SigningASPNet Signing = "ms-signature"
	// SigningHub is the header X-Hub-Signature-256, as of GitHub.
	SigningHub Signing = "x-hub-signature-256"
)

// secret is one of a subscription's. During a rotation it has two.
type secret struct {
	Text    string    `json:"text"`
	Created time.Time `json:"created"`
	// Expires is when it is no longer signed with; zero: it is the one in use.
	Expires time.Time `json:"expires,omitzero"`
}

// liveSecrets are the texts of the secrets to sign with now, newest first.
func (s *Subscription) liveSecrets(now time.Time) []string {
	var live []string
	for _, secret := range s.secrets {
		if secret.Expires.IsZero() || now.Before(secret.Expires) {
			live = append(live, secret.Text)
		}
	}
	return live
}

// request is what a signature is over.
type request struct {
	id   string
	at   time.Time
	body []byte
}

// sign sets the headers of a request's signature.
func (s *Subscription) sign(header http.Header, r request) error {
	return schemes[s.Signing].sign(header, r, s.liveSecrets(r.at))
}

// scheme is a way to sign.
type scheme struct {
	// generate makes a secret.
	generate func() string
	// check says what a secret must be; "" if it is.
	check func(text string) string
	// sign sets the headers. There is one secret at least.
	sign func(header http.Header, r request, secrets []string) error
	// public is what the subscriber verifies with, if that is not the secret.
	public func(text string) string
}

// schemes are all ways to sign.
var schemes = map[Signing]scheme{
	SigningV1: {
		generate: func() string { return webhook.NewSecret().Reveal() },
		check:    checkStandardSecret,
		sign:     signStandard,
	},
	SigningV1a: {
		generate: func() string { return webhook.NewPrivateKey().Reveal() },
		check: func(text string) string {
			if _, err := webhook.ParsePrivateKey(text); err != nil {
				return "want whsk_ and the base64 of an Ed25519 key; without this field one is made"
			}
			return ""
		},
		sign: signAsymmetric,
		public: func(text string) string {
			key, _ := webhook.ParsePrivateKey(text) // it was checked; of none there is none
			return key.Public().String()
		},
	},
	SigningASPNet: {
		generate: newTextSecret,
		check: func(text string) string {
			return checkTextSecret(text, 32, 64, "want 32 to 64 printable ASCII characters; without this field a secret is made")
		},
		// Upper case: that is how ASP.NET writes it.
		sign: func(header http.Header, r request, secrets []string) error {
			header.Set("ms-signature", "sha256="+strings.ToUpper(hmacHex(secrets[0], r.body)))
			return nil
		},
	},
	SigningHub: {
		generate: newTextSecret,
		check: func(text string) string {
			return checkTextSecret(text, 16, 128, "want 16 to 128 printable ASCII characters; without this field a secret is made")
		},
		sign: func(header http.Header, r request, secrets []string) error {
			header.Set("X-Hub-Signature-256", "sha256="+hmacHex(secrets[0], r.body))
			return nil
		},
	},
}

func checkStandardSecret(text string) string {
	if _, err := webhook.ParseSecret(text); err != nil {
		return "want whsec_ and the base64 of 24 to 64 random bytes; without this field one is made"
	}
	return ""
}

func signStandard(header http.Header, r request, texts []string) error {
	keys := make([]webhook.SigningKey, len(texts))
	for i, text := range texts {
		secret, err := webhook.ParseSecret(text)
		if err != nil {
			return err
		}
		keys[i] = secret
	}
	return webhook.Sign(header, r.id, r.at, r.body, keys...)
}

func signAsymmetric(header http.Header, r request, texts []string) error {
	keys := make([]webhook.SigningKey, len(texts))
	for i, text := range texts {
		key, err := webhook.ParsePrivateKey(text)
		if err != nil {
			return err
		}
		keys[i] = key
	}
	return webhook.Sign(header, r.id, r.at, r.body, keys...)
}

// newTextSecret makes a secret of 32 random bytes for the schemes whose key is the
// secret's text.
func newTextSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: without randomness the program ends
	return hex.EncodeToString(key)
}

func checkTextSecret(text string, shortest, longest int, want string) string {
	if len(text) < shortest || len(text) > longest || strings.Contains(text, " ") || !validHeaderText(text) {
		return want
	}
	return ""
}

func hmacHex(key string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}
