package console

import (
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says how a console works. The zero value of a field is its default.
type Config struct {
	// Addr is where the API listens. Default :8082. Without Keys only the loopback
	// address of its port is listened on.
	Addr string
	// Keys are the bearer keys of the operators, each written "key" (the operator is
	// called "operator") or "name=key".
	Keys []string
	// Metrics is where the console registers what the chains have to do. nil: nowhere.
	Metrics prometheus.Registerer
	// Grace is how long requests and jobs may take to end. Default 20 s.
	Grace time.Duration
}

// defaultOperator is who uses a key that names nobody, local who needs none.
const (
	defaultOperator = "operator"
	local           = "local"
)

func (c Config) withDefaults() Config {
	if c.Addr == "" {
		c.Addr = ":8082"
	}
	if c.Grace == 0 {
		c.Grace = 20 * time.Second
	}
	return c
}

// loopback is the address on this machine only: for a console that asks nobody who
// he is.
func loopback(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("console: address %q: want host:port or :port", addr)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return addr, nil
	}
	return net.JoinHostPort("127.0.0.1", port), nil
}
