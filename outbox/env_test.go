package outbox

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/belay-hooks/belay/pkg/config"
)

func TestFromEnv(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name string
		env  config.OutboxEnv
		good bool
	}{
		{"nothing", config.OutboxEnv{}, true},
		{"a proxy", config.OutboxEnv{OutboxProxy: "http://user:secret@proxy.example:3128"}, true},
		{"no proxy", config.OutboxEnv{OutboxProxy: "http://user:secret@proxy example"}, false},
		{"a proxy of another protocol", config.OutboxEnv{OutboxProxy: "socks5://proxy.example"}, false},
		{"no file", config.OutboxEnv{OutboxCA: filepath.Join(dir, "none")}, false},
		{"no certificates", config.OutboxEnv{OutboxCA: write("text", "nothing")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf, err := FromEnv(c.env)
			if err == nil {
				err = conf.withDefaults().Validate()
			}
			if (err == nil) != c.good {
				t.Errorf("%v", err)
			}
		})
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	ca := write("ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	conf, err := FromEnv(config.OutboxEnv{OutboxCA: ca, OutboxAttempts: 3})
	if err != nil || conf.Attempts != 3 {
		t.Fatalf("%+v, %v", conf, err)
	}
	conf.Dev = true
	o := newHouse(t).run(func(c *Config) { c.RootCAs = conf.RootCAs })
	sub, _ := o.subscribe("key-a", map[string]any{"url": s.URL})
	o.notify("key-a", "n1", "t", `1`)
	o.delivery(sub.ID, string(delivered), 1)
}
