package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/nats-io/nkeys"

	"github.com/belay-hooks/belay/internal/seal"
)

type newSecretsCmd struct {
	Namespace string `default:"belay" env:"-" help:"The namespace that they are for; their certificate holds it."`
	NoTLS     bool   `name:"no-tls" env:"-" help:"Leave the certificate of the broker to others, such as cert-manager."`
}

// Help shows how it is used.
func (*newSecretsCmd) Help() string {
	return `Everything is made anew, and nothing is kept here. kubectl create refuses to replace
what is there already:

  belay new secrets | kubectl create -f -

See docs/kubernetes.md for what is in them, and how each is replaced later.`
}

// brokerUsers are who may speak to the broker: each has a key, and what permissions.conf
// of deploy/k8s allows its name. The admin may do everything.
var brokerUsers = []string{"ingress", "worker", "outbox", "console", "migrate", brokerAdmin}

const (
	brokerAdmin  = "admin"
	brokerSystem = "system" // the user of the system account
)

var namespaceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// secret is a Secret of Kubernetes
// (https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/).
type secret struct {
	APIVersion string            `yaml:"apiVersion"`
	Kind       string            `yaml:"kind"`
	Metadata   map[string]string `yaml:"metadata"`
	Type       string            `yaml:"type"`
	StringData map[string]string `yaml:"stringData"`
}

// Run prints the Secrets.
func (c *newSecretsCmd) Run(_ context.Context, s streams) error {
	if !namespaceName.MatchString(c.Namespace) {
		return &exitError{fmt.Errorf("%q is no name of a namespace, want lower-case letters, digits and -", c.Namespace), exitUsage}
	}
	data, err := c.secrets()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(data)) {
		text, err := yaml.MarshalWithOptions(secret{
			APIVersion: "v1", Kind: "Secret", Type: secretType(data[name]), StringData: data[name],
			Metadata: map[string]string{"name": name, "namespace": c.Namespace},
		}, yaml.UseLiteralStyleIfMultiline(true))
		if err != nil {
			return err
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	_, err = s.out.Write(out.Bytes())
	return err
}

// secrets are the contents, by the names of the Secrets.
func (c *newSecretsCmd) secrets() (map[string]map[string]string, error) {
	all := make(map[string]map[string]string)
	var users strings.Builder
	for _, name := range append(slices.Clone(brokerUsers), brokerSystem) {
		seed, public, err := newUser()
		if err != nil {
			return nil, fmt.Errorf("make the key of the user %s: %w", name, err)
		}
		all["nats-"+name] = map[string]string{"seed": seed}
		switch name {
		case brokerSystem:
			fmt.Fprintf(&users, "    ]\n  }\n  SYS {\n    users: [{nkey: %s}]\n  }\n}\nsystem_account: SYS\n", public)
		case brokerAdmin:
			fmt.Fprintf(&users, "      {nkey: %s} # %s\n", public, name)
		default:
			fmt.Fprintf(&users, "      {nkey: %s, permissions: $%s}\n", public, name)
		}
	}
	all["nats-users"] = map[string]string{"users.conf": "# Who may speak to the broker, and what.\ninclude ../nats/permissions.conf\n" +
		"accounts {\n  BELAY {\n    jetstream: enabled\n    users: [\n" + users.String()}
	if !c.NoTLS {
		var err error
		if all["nats-tls"], err = newCertificate(c.Namespace); err != nil {
			return nil, fmt.Errorf("make the certificate of the broker: %w", err)
		}
	}
	keyset, err := seal.New()
	if err != nil {
		return nil, err
	}
	all["outbox"] = map[string]string{"keyset.json": string(keyset), "api-keys": rand.Text() + "\n"}
	all["console"] = map[string]string{"console-keys": rand.Text() + "\n"}
	return all, nil
}

// newUser makes an nkey (https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth).
func newUser() (seed, public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", "", err
	}
	defer pair.Wipe()
	text, err := pair.Seed()
	if err != nil {
		return "", "", err
	}
	public, err = pair.PublicKey()
	return string(text) + "\n", public, err
}

func secretType(data map[string]string) string {
	if _, ok := data["tls.key"]; ok {
		return "kubernetes.io/tls"
	}
	return "Opaque"
}
