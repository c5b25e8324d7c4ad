package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/nats-io/nkeys"
)

func newSecrets(t *testing.T, args ...string) map[string]map[string]string {
	t.Helper()
	out, _, err := belay(t, append([]string{"new", "secrets"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]string{}
	for documents := yaml.NewDecoder(strings.NewReader(out)); ; {
		var s secret
		if err := documents.Decode(&s); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if s.Kind != "Secret" || s.Metadata["namespace"] != "hooks" {
			t.Errorf("got %s %v", s.Kind, s.Metadata)
		}
		all[s.Metadata["name"]] = s.StringData
	}
}

func TestNewSecrets(t *testing.T) {
	all := newSecrets(t, "--namespace", "hooks")
	for _, user := range append(brokerUsers, brokerSystem) {
		pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(all["nats-"+user]["seed"])))
		if err != nil {
			t.Fatalf("the seed of %s: %v", user, err)
		}
		if public, err := pair.PublicKey(); err != nil || strings.Count(all["nats-users"]["users.conf"], public) != 1 {
			t.Errorf("the user %s is not one of users.conf: %v", user, err)
		}
	}
	served, err := tls.X509KeyPair([]byte(all["nats-tls"]["tls.crt"]), []byte(all["nats-tls"]["tls.key"]))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(all["nats-tls"]["ca.crt"]))
	for _, name := range []string{"nats", "nats-0.nats", "nats-2.nats.hooks.svc.cluster.local", "localhost"} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := served.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	other := newSecrets(t, "--namespace", "hooks", "--no-tls")
	if other["nats-tls"] != nil {
		t.Error("there is a certificate that was not wanted")
	}
	for _, name := range []string{"outbox", "console", "nats-worker"} {
		for key, text := range all[name] {
			if text == "" || text == other[name][key] {
				t.Errorf("%s of %s is empty, or made once for all", key, name)
			}
		}
	}
}

func TestNewSecretsProblem(t *testing.T) {
	if _, _, err := belay(t, "new", "secrets", "--namespace", "Hooks!"); err == nil || !strings.Contains(err.Error(), "no name of a namespace") {
		t.Errorf("got %v", err)
	}
}
