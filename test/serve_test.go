package test

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/belay-hooks/belay/internal/localnats"
	"github.com/belay-hooks/belay/pkg/stream"
)

// belay serve is one process with a data directory. Killed, and started again on
// it, it goes on.
func serveIsKilled(t *testing.T, bin string) {
	const webhooks = 400
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	ingressAddr, outboxAddr := freeAddr(t), freeAddr(t)
	x := newTraffic(t, "http://"+ingressAddr)
	serve := &program{t: t, name: "belay serve", path: filepath.Join(bin, "belay"), args: []string{"serve"}, ops: freeAddr(t)}
	serve.env = []string{
		"BELAY_DATA_DIR=" + data, "BELAY_CONFIG=" + x.writeConfiguration(dir), "BELAY_OPS_ADDR=" + serve.ops,
		"BELAY_INGRESS_ADDR=" + ingressAddr, "BELAY_OUTBOX_ADDR=" + outboxAddr, "BELAY_API_KEYS=" + apiKey, "BELAY_CONSOLE_ADDR=127.0.0.1:0",
		"BELAY_ALLOW_HTTP=true", "BELAY_ALLOW_NETWORKS=127.0.0.0/8", "GITHUB_WEBHOOK_SECRET=" + githubSecret,
	}
	serve.run()
	serve.waitReady()
	x.subscribe("http://" + outboxAddr)
	strike := func() {
		serve.kill()
		serve.start()
	}
	x.run(webhooks, blow{accepted, strike}, blow{delivered, strike})
	serve.stop()

	// What is in its data directory now is what it kept.
	log := slog.New(slog.DiscardHandler)
	server, err := localnats.Start(t.Context(), localnats.Config{Dir: data, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	broker, err := stream.Connect(stream.Config{Name: "test", InProcess: server, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	x.check(broker, webhooks, "belay serve killed twice")
	if handled, delivered := x.repeated(); handled > 2*concurrency || delivered > 2*deliveries {
		t.Errorf("handled %d and delivered %d times again; want no more than were in hand", handled, delivered)
	}
}
