package config_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/belay-hooks/belay/pkg/config"
)

type everything struct {
	config.ConfigEnv
	config.IngressEnv
	config.OutboxEnv
	config.ConsoleEnv
	config.DataEnv
	config.NatsEnv
	config.OpsEnv
}

func TestLoadEnv(t *testing.T) {
	for name, value := range map[string]string{
		"BELAY_CONFIG": "c.yaml", "BELAY_INGRESS_ADDR": ":1", "BELAY_OUTBOX_ADDR": ":2", "BELAY_OPS_ADDR": ":4",
		"BELAY_DATA_DIR": "/data", "BELAY_NATS_URL": "nats://n:4222", "BELAY_NATS_CREDS": "creds", "BELAY_NATS_NKEY": "nkey",
		"BELAY_NATS_CA": "ca", "BELAY_API_KEYS": "k", "BELAY_LOG_FORMAT": "text", "BELAY_LOG_LEVEL": "debug",
		"BELAY_SHUTDOWN_DELAY": "5s", "BELAY_ALLOW_HTTP": "true", "BELAY_ALLOW_NETWORKS": "10.1.0.0/16, fd00::/8", "PREFIX": "/usr/local",
		"BELAY_PUBLIC_URL": "https://h", "BELAY_TRUSTED_PROXIES": "10.0.0.0/8", "BELAY_TLS_CERT": "cert", "BELAY_TLS_KEY": "key",
		"BELAY_MAX_BYTES_IN_FLIGHT": "1000", "BELAY_MAX_REQUESTS_IN_FLIGHT": "10",
		"BELAY_OUTBOX_PROXY": "http://p:1", "BELAY_OUTBOX_CA": "ca", "BELAY_OUTBOX_ATTEMPTS": "7", "BELAY_DISABLE_AFTER": "48h",
	} {
		t.Setenv(name, value)
	}
	var got everything
	if err := config.LoadEnv(&got); err != nil {
		t.Fatal(err)
	}
	want := everything{
		ConfigEnv: config.ConfigEnv{Config: "c.yaml"},
		IngressEnv: config.IngressEnv{
			IngressAddr: ":1", Prefix: "/webhooks", PublicURL: "https://h",
			TrustedProxies: config.Networks{netip.MustParsePrefix("10.0.0.0/8")}, TLSCert: "cert", TLSKey: "key",
			MaxBytesInFlight: 1000, MaxRequestsInFlight: 10,
		},
		OutboxEnv: config.OutboxEnv{
			OutboxAddr: ":2", APIKeys: "k", AllowHTTP: true,
			OutboxProxy: "http://p:1", OutboxCA: "ca", OutboxAttempts: 7, DisableAfter: 48 * time.Hour,
			AllowNetworks: config.Networks{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")},
		},
		ConsoleEnv: config.ConsoleEnv{ConsoleAddr: ":8082"},
		DataEnv:    config.DataEnv{DataDir: "/data"},
		NatsEnv:    config.NatsEnv{NatsURL: "nats://n:4222", NatsCreds: "creds", NatsNkey: "nkey", NatsCA: "ca"},
		OpsEnv: config.OpsEnv{
			OpsAddr: ":4", LogEnv: config.LogEnv{LogFormat: "text", LogLevel: "debug"},
			ShutdownDelay: 5 * time.Second, ShutdownGrace: 25 * time.Second,
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLoadEnvProblem(t *testing.T) {
	for name, c := range map[string]struct{ value, kind string }{
		"BELAY_SHUTDOWN_GRACE":  {"soon", "a duration such as 90s or 48h"},
		"BELAY_ALLOW_HTTP":      {"perhaps", "true or false"},
		"BELAY_OUTBOX_ATTEMPTS": {"1k", "a whole number"},
		"BELAY_ALLOW_NETWORKS":  {"10.1.0.0/16,localhost", "networks such as 10.1.0.0/16,fd00::/8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, c.value)
			err := config.LoadEnv(&everything{})
			want := "the environment variable " + name + " does not hold " + c.kind + ", correct or unset it"
			if err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

func TestRedacted(t *testing.T) {
	keys := config.Redacted("s3cret, acme=s3cret2,")
	if got := keys.List(); !slices.Equal(got, []string{"s3cret", "acme=s3cret2"}) {
		t.Errorf("the list is %q", got)
	}
	if got := config.Redacted("").List(); len(got) != 0 {
		t.Errorf("the list of nothing is %q", got)
	}
	asJSON, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", keys, keys, keys, asJSON); strings.Contains(shown, "s3cret") {
		t.Errorf("shown: %s", shown)
	}
}
