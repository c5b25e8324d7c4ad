package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"
)

// EnvPrefix begins the name of every environment variable: BELAY_CONFIG.
const EnvPrefix = "BELAY"

// The environment, a struct for each concern. A program embeds those that it
// needs. The tags serve both readers: [LoadEnv] for the single programs, and
// the flags of the belay command (github.com/alecthomas/kong) for people.
type (
	// ConfigEnv says where the configuration file is: BELAY_CONFIG.
	ConfigEnv struct {
		Config string `split_words:"true" default:"belay.yaml" help:"The configuration file."`
	}
	// IngressEnv is how webhooks are received: BELAY_INGRESS_ADDR, BELAY_PREFIX,
	// BELAY_PUBLIC_URL, BELAY_TRUSTED_PROXIES, BELAY_TLS_CERT, BELAY_TLS_KEY,
	// BELAY_MAX_BYTES_IN_FLIGHT, BELAY_MAX_REQUESTS_IN_FLIGHT.
	IngressEnv struct {
		IngressAddr         string   `split_words:"true" default:":8080" help:"Where webhooks are received."`
		Prefix              string   `split_words:"true" default:"/webhooks" help:"The path that all sources are under."`
		PublicURL           string   `split_words:"true" placeholder:"URL" help:"What senders call instead of the address of the ingress, such as https://hooks.example.com, for the providers that sign it."`
		TrustedProxies      Networks `split_words:"true" placeholder:"CIDRS" help:"The networks of the proxies whose X-Forwarded-For, -Proto and -Host are believed, separated by commas."`
		TLSCert             string   `split_words:"true" placeholder:"FILE" help:"The certificates, PEM, to receive webhooks over TLS with. Read again when they change."`
		TLSKey              string   `split_words:"true" placeholder:"FILE" help:"Their private key, PEM."`
		MaxBytesInFlight    int64    `split_words:"true" placeholder:"BYTES" help:"How many bytes the requests in hand may take before more are answered 503. Default: a quarter of the memory limit, 256 MiB without one."`
		MaxRequestsInFlight int      `split_words:"true" placeholder:"N" help:"How many requests may be in hand before more are answered 503. Default: 4096."`
	}
	// WorkerEnv is how events are handled: BELAY_MAX_BYTES_IN_HAND.
	WorkerEnv struct {
		MaxBytesInHand int64 `split_words:"true" placeholder:"BYTES" help:"How many bytes the events in hand of a worker may take, about. Default: a quarter of the memory limit, 256 MiB without one."`
	}
	// ChainsEnv is which chains a worker runs: BELAY_CHAINS.
	ChainsEnv struct {
		Chains []string `help:"The chains to run, separated by commas. Default: all."`
	}
	// OutboxEnv is the outbox and its API: BELAY_OUTBOX_ADDR, BELAY_API_KEYS, and
	// where subscriptions may point to besides https on the Internet:
	// BELAY_ALLOW_HTTP, BELAY_ALLOW_NETWORKS; how they are reached:
	// BELAY_OUTBOX_PROXY, BELAY_OUTBOX_CA, BELAY_OUTBOX_ATTEMPTS,
	// BELAY_DISABLE_AFTER; BELAY_VERIFY_URLS, BELAY_KEYSET,
	// BELAY_MAX_SUBSCRIPTION_BYTES.
	OutboxEnv struct {
		OutboxAddr           string        `split_words:"true" default:":8081" help:"Where the outbox API is served."`
		AllowHTTP            bool          `split_words:"true" help:"Allow subscriptions to plain http URLs."`
		AllowNetworks        Networks      `split_words:"true" placeholder:"CIDRS" help:"Private networks that subscriptions may point into, such as 10.1.0.0/16, separated by commas."`
		OutboxProxy          Redacted      `split_words:"true" placeholder:"URL" help:"The proxy that deliveries go through: http://proxy.example:3128. It has to keep them from where they must not go. Default: none, also where HTTP_PROXY is set."`
		OutboxCA             string        `split_words:"true" name:"outbox-ca" placeholder:"FILE" help:"The certificates, PEM, of the authorities that subscribers are trusted by, besides those of the system."`
		OutboxAttempts       int           `split_words:"true" placeholder:"N" help:"How many attempts run at once. Default: 1024."`
		DisableAfter         time.Duration `split_words:"true" default:"120h" placeholder:"DURATION" help:"A subscription of which every attempt has failed for so long is disabled, and its owner told. 0: never. The attempts must be kept for longer: BELAY_HISTORY."`
		VerifyURLs           bool          `envconfig:"VERIFY_URLS" name:"verify-urls" help:"Ask each new URL of a subscription whether its owner wants webhooks: it must echo a text. A query parameter noecho says not to."`
		Keyset               string        `split_words:"true" placeholder:"FILE" help:"The Tink keyset, JSON, that the secrets of subscriptions are encrypted with. Default of serve: keyset.json in the data directory, made there; of the outbox program: none, they are stored in the clear."`
		MaxSubscriptionBytes int           `split_words:"true" placeholder:"BYTES" help:"How much the subscriptions may take as they are stored; in memory it is about twice as much. Above it no more are made. Default: 512 MiB."`
		APIKeys              Redacted      `split_words:"true" placeholder:"KEYS" help:"The keys of the outbox API: key, the operator's, or tenant=key, separated by commas, or file:/path of a file that holds them, which is read again. More are made by belay keys. Better given as BELAY_API_KEYS than as a flag, which every process of the machine can read."`
	}
	// ConsoleEnv is where the console is served, and who may use it:
	// BELAY_CONSOLE_ADDR, BELAY_CONSOLE_KEYS.
	ConsoleEnv struct {
		ConsoleAddr string   `split_words:"true" default:":8082" help:"Where the console API is served. Without keys it is served to this machine only."`
		ConsoleKeys Redacted `split_words:"true" placeholder:"KEYS" help:"The keys of the operators: key or name=key, separated by commas, or file:/path of a file that holds them, which is read again. Better given as BELAY_CONSOLE_KEYS than as a flag, which every process of the machine can read."`
	}
	// DataEnv is where serve keeps its data: BELAY_DATA_DIR.
	DataEnv struct {
		DataDir string `split_words:"true" default:"./belay-data" help:"Where everything that is stored is kept."`
	}
	// StoreEnv is how much is kept: BELAY_DEDUP_WINDOW, BELAY_RETENTION,
	// BELAY_HISTORY, BELAY_MAX_BACKLOG.
	StoreEnv struct {
		DedupWindow time.Duration `split_words:"true" default:"24h" placeholder:"DURATION" help:"How long a delivery id is remembered: a second delivery within it is recognised."`
		Retention   time.Duration `split_words:"true" default:"168h" placeholder:"DURATION" help:"How long events and the record of what was done with them are kept."`
		History     time.Duration `split_words:"true" placeholder:"DURATION" help:"How long the attempts of deliveries are kept. Default: as BELAY_RETENTION."`
		MaxBacklog  int64         `split_words:"true" placeholder:"MIB" help:"How much is kept of what came in, in MiB. Above 70 % of it what was handled is dropped early; when it is full of what was not, webhooks are refused. It must hold what comes in within the deduplication window. Default: bounded by the disk."`
	}
	// NatsEnv is how the broker is reached: BELAY_NATS_URL and its credentials.
	NatsEnv struct {
		NatsURL   string `split_words:"true" default:"nats://127.0.0.1:4222" help:"The NATS servers, separated by commas."`
		NatsCreds string `split_words:"true" placeholder:"FILE" help:"A NATS credentials file."`
		NatsNkey  string `split_words:"true" placeholder:"FILE" help:"A file with an NKey seed."`
		NatsCA    string `split_words:"true" name:"nats-ca" placeholder:"FILE" help:"The certificates that the NATS servers are verified with."`
	}
	// OpsEnv is how a program is run: BELAY_OPS_ADDR, BELAY_LOG_FORMAT,
	// BELAY_LOG_LEVEL, BELAY_SHUTDOWN_DELAY, BELAY_SHUTDOWN_GRACE.
	OpsEnv struct {
		OpsAddr string `split_words:"true" default:":9090" help:"Where health, metrics and profiles are served."`
		LogEnv
		ShutdownDelay time.Duration `split_words:"true" default:"0s" help:"How long to go on serving after becoming unready, so that load balancers notice."`
		ShutdownGrace time.Duration `split_words:"true" default:"25s" help:"How long what runs may take to finish."`
	}
	// LogEnv is how a program logs: BELAY_LOG_FORMAT, BELAY_LOG_LEVEL.
	LogEnv struct {
		LogFormat string `split_words:"true" placeholder:"FORMAT" help:"json or text. Default: json; text with serve --dev."`
		LogLevel  string `split_words:"true" default:"info" help:"debug, info, warn or error."`
	}
)

// LoadEnv fills a struct that embeds some of the environment's structs. The
// error names the variable, never its value: it may be a secret.
func LoadEnv(into any) error {
	err := envconfig.Process(EnvPrefix, into)
	var bad *envconfig.ParseError
	if errors.As(err, &bad) {
		return fmt.Errorf("the environment variable %s does not hold %s, correct or unset it", bad.KeyName, described(bad.TypeName))
	}
	return err
}

// described says what a variable of a type holds.
func described(typeName string) string {
	switch typeName {
	case "time.Duration":
		return "a duration such as 90s or 48h"
	case "config.Networks":
		return "networks such as 10.1.0.0/16,fd00::/8"
	case "bool":
		return "true or false"
	case "int", "int64":
		return "a whole number"
	}
	return "a " + typeName
}

// Networks are networks, written as prefixes (10.1.0.0/16, fd00::/8) with commas
// between them.
type Networks []netip.Prefix

// UnmarshalText reads the networks. An empty text has none.
func (n *Networks) UnmarshalText(text []byte) error {
	*n = nil
	for entry := range strings.SplitSeq(string(text), ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(entry)
		if err != nil {
			return fmt.Errorf("%q is no network, want one such as 10.1.0.0/16", entry)
		}
		*n = append(*n, prefix)
	}
	return nil
}

// Redacted is a text that is never printed, logged or encoded.
type Redacted string

// redacted is what is shown instead.
const redacted = "[redacted]"

// String is "[redacted]".
func (Redacted) String() string { return redacted }

// GoString is "[redacted]".
func (Redacted) GoString() string { return redacted }

// LogValue is "[redacted]".
func (Redacted) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText writes "[redacted]".
func (Redacted) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// List is the entries of the text, which commas separate, without blanks around
// them. An empty text has none.
func (r Redacted) List() []string {
	var list []string
	for entry := range strings.SplitSeq(string(r), ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			list = append(list, entry)
		}
	}
	return list
}
