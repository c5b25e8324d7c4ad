package sdk

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"code.gitea.io/sdk/gitea"
	paddle "github.com/PaddleHQ/paddle-go-sdk/v4"
	"github.com/PagerDuty/go-pagerduty/webhookv3"
	"github.com/buildkite/go-buildkite/v4"
	"github.com/google/go-github/v84/github"
	line "github.com/line/line-bot-sdk-go/v8/linebot/webhook"
	"github.com/mailgun/mailgun-go/v4"
	razorpay "github.com/razorpay/razorpay-go/utils"
	"github.com/resend/resend-go/v3"
	"github.com/sendgrid/sendgrid-go/helpers/eventwebhook"
	"github.com/slack-go/slack"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	stripe "github.com/stripe/stripe-go/v85/webhook"
	svix "github.com/svix/svix-webhooks/go"
	twilio "github.com/twilio/twilio-go/client"
)

// goSDKs are the SDKs of Go. slack-go is not Slack's own, but what Go programs use.
func goSDKs(t *testing.T) []sdk {
	t.Helper()
	list := []sdk{
		{name: "code.gitea.io/sdk/gitea", receivers: []string{"gitea"}, verify: func(q request, secret string) error {
			return no(gitea.VerifyWebhookSignature(secret, q.header.Get("X-Gitea-Signature"), q.body))
		}},
		{name: "github.com/PaddleHQ/paddle-go-sdk/v4", receivers: []string{"paddle"}, verify: func(q request, secret string) error {
			return no(paddle.NewWebhookVerifier(secret).Verify(q.http()))
		}},
		{name: "github.com/PagerDuty/go-pagerduty", receivers: []string{"pagerduty"}, verify: func(q request, secret string) error {
			return webhookv3.VerifySignature(q.http(), secret)
		}},
		{name: "github.com/buildkite/go-buildkite/v4", receivers: []string{"buildkite"}, verify: func(q request, secret string) error {
			_, err := buildkite.ValidatePayload(q.http(), []byte(secret))
			return err
		}},
		{name: "github.com/google/go-github/v84", receivers: []string{"github"}, verify: func(q request, secret string) error {
			_, err := github.ValidatePayload(q.http(), []byte(secret))
			return err
		}},
		{name: "github.com/line/line-bot-sdk-go/v8", receivers: []string{"line"}, verify: func(q request, secret string) error {
			_, err := line.ParseRequest(secret, q.http())
			return err
		}},
		{name: "github.com/mailgun/mailgun-go/v4", receivers: []string{"mailgun"}, verify: verifyMailgun},
		{name: "github.com/razorpay/razorpay-go", receivers: []string{"razorpay"}, verify: func(q request, secret string) error {
			return no(razorpay.VerifyWebhookSignature(string(q.body), q.header.Get("X-Razorpay-Signature"), secret), nil)
		}},
		{name: "github.com/resend/resend-go/v3", receivers: []string{"resend"}, verify: func(q request, secret string) error {
			return resend.NewClient("none").Webhooks.Verify(&resend.VerifyWebhookOptions{
				Payload: string(q.body), WebhookSecret: secret,
				Headers: resend.WebhookHeaders{Id: q.header.Get("svix-id"), Timestamp: q.header.Get("svix-timestamp"), Signature: q.header.Get("svix-signature")},
			})
		}},
		{name: "github.com/sendgrid/sendgrid-go", receivers: []string{"sendgrid"}, verify: func(q request, secret string) error {
			key, err := eventwebhook.ConvertPublicKeyBase64ToECDSA(secret)
			if err != nil {
				return err
			}
			return no(eventwebhook.VerifySignature(key, q.body,
				q.header.Get(eventwebhook.VerificationHTTPHeader), q.header.Get(eventwebhook.TimestampHTTPHeader)))
		}},
		{name: "github.com/slack-go/slack", receivers: []string{"slack", "slack-interactive"}, verify: verifySlack},
		{name: "github.com/standard-webhooks/standard-webhooks/libraries", receivers: []string{
			"standard-webhooks", "anthropic", "gitlab-signing", "openai", "render", "replicate", "supabase-auth",
		}, verify: verifyStandard, sign: signStandard},
		{name: "github.com/stripe/stripe-go/v85", receivers: []string{"stripe"}, verify: func(q request, secret string) error {
			_, err := stripe.ConstructEventWithOptions(q.body, q.header.Get("Stripe-Signature"), secret,
				stripe.ConstructEventOptions{IgnoreAPIVersionMismatch: true}) // it is of the sample, and not signed
			return err
		}, sign: func(q *request, secret string) error {
			signed := stripe.GenerateTestSignedPayload(&stripe.UnsignedPayload{Payload: q.body, Secret: secret})
			q.header.Set("Stripe-Signature", signed.Header)
			return nil
		}},
		{name: "github.com/svix/svix-webhooks", receivers: []string{"svix", "clerk", "resend", "standard-webhooks"}, verify: verifySvix, sign: signSvix},
		{name: "github.com/twilio/twilio-go", receivers: []string{"twilio"}, verify: verifyTwilio},
	}
	versions := moduleVersions(t)
	for i, s := range list {
		list[i].version = versions[s.name]
	}
	return list
}

// moduleVersions are those of go.mod: a test does not carry them.
func moduleVersions(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Path}} {{.Version}}", "all").Output()
	if err != nil {
		t.Fatalf("go list -m: %v", err)
	}
	versions := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		versions[name] = strings.TrimSuffix(version, "+incompatible")
	}
	return versions
}

func verifySlack(q request, secret string) error {
	v, err := slack.NewSecretsVerifier(q.header, secret)
	if err != nil {
		return err
	}
	if _, err := v.Write(q.body); err != nil {
		return err
	}
	return v.Ensure()
}

func verifyTwilio(q request, secret string) error {
	form, err := url.ParseQuery(string(q.body))
	if err != nil {
		return err
	}
	params := map[string]string{}
	for name := range form {
		params[name] = form.Get(name)
	}
	v := twilio.NewRequestValidator(secret)
	return no(v.Validate(q.url, params, q.header.Get("X-Twilio-Signature")), nil)
}

func verifyMailgun(q request, secret string) error {
	var payload mailgun.WebhookPayload
	if err := json.NewDecoder(bytes.NewReader(q.body)).Decode(&payload); err != nil {
		return err
	}
	mg := mailgun.NewMailgun("example.com", "none")
	mg.SetWebhookSigningKey(secret)
	return no(mg.VerifyWebhookSignature(payload.Signature))
}

func verifyStandard(q request, secret string) error {
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return err
	}
	return hook.Verify(q.body, q.header)
}

func signStandard(q *request, secret string) error {
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return err
	}
	return signWith(q.header, "webhook", func(id string, now time.Time) (string, error) { return hook.Sign(id, now, q.body) })
}

func verifySvix(q request, secret string) error {
	hook, err := svix.NewWebhook(secret)
	if err != nil {
		return err
	}
	return hook.Verify(q.body, q.header)
}

func signSvix(q *request, secret string) error {
	hook, err := svix.NewWebhook(secret)
	if err != nil {
		return err
	}
	prefix := "svix"
	if q.receiver == "standard-webhooks" {
		prefix = "webhook"
	}
	return signWith(q.header, prefix, func(id string, now time.Time) (string, error) { return hook.Sign(id, now, q.body) })
}

// signWith sets the three headers of Standard Webhooks.
func signWith(h http.Header, prefix string, sign func(id string, now time.Time) (string, error)) error {
	now := time.Now()
	signature, err := sign(h.Get(prefix+"-id"), now)
	h.Set(prefix+"-timestamp", strconv.FormatInt(now.Unix(), 10))
	h.Set(prefix+"-signature", signature)
	return err
}
