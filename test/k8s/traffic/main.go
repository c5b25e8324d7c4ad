// Command traffic is a provider, what a chain forwards to, and a subscriber, in one
// pod: it sends signed webhooks until each is accepted, and counts what comes back.
//
//	POST /start?rate=N   send N webhooks a second
//	POST /stop           send no more, and wait for those that are on their way
//	GET /report          a Report, JSON
//	GET /reach?addr=A    200 if a connection to A is possible
//	/hook, /subscriber   what the chain and the outbox call
//
// As "traffic wait" it does nothing, in the pods of others; there "traffic kill" ends
// their processes as the kernel does, with SIGKILL.
package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/service"
	"github.com/belay-hooks/belay/pkg/webhook"
)

const (
	maxBody = 1 << 20
	// reachTimeout is how long a connection that a NetworkPolicy forbids is tried.
	reachTimeout = 2 * time.Second
)

func main() {
	service.Main("traffic", func(ctx context.Context) error {
		var c struct {
			Serve serve    `cmd:"" default:"1" help:"Send and count."`
			Wait  struct{} `cmd:"" help:"Do nothing."`
			Kill  struct{} `cmd:"" help:"Kill the other programs of the pod."`
		}
		switch kong.Parse(&c).Command() {
		case "wait":
			<-ctx.Done()
		case "kill":
			return kill()
		default:
			return c.Serve.run(ctx)
		}
		return nil
	})
}

// serve is configured by the environment of its pod.
type serve struct {
	Ingress string `env:"INGRESS" help:"The source's URL."`
	Secret  string `env:"SECRET" help:"Its secret."`
	Outbox  string `env:"OUTBOX" help:"The outbox."`
	APIKey  string `env:"API_KEY" help:"A key of it."`
	Self    string `env:"SELF" help:"This pod, as subscribers are called."`
}

func (e serve) run(ctx context.Context) error {
	source, err := receiver.NewSource(receiver.SourceConfig{Receiver: "github", Secrets: []receiver.Secret{inline(e.Secret)}})
	if err != nil {
		return err
	}
	c := newCounts()
	s := &sender{url: e.Ingress, source: source, counts: c}
	h := &handlers{counts: c, sender: s, secret: webhook.NewSecret()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /start", h.start)
	mux.HandleFunc("POST /stop", h.stop)
	mux.HandleFunc("GET /report", h.report)
	mux.HandleFunc("GET /reach", reach)
	mux.HandleFunc("/hook", h.hook)
	mux.HandleFunc("/subscriber", h.subscriber)
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	go h.subscribe(ctx, e.Outbox, e.APIKey, e.Self+"/subscriber")
	if err := server.ListenAndServe(); ctx.Err() == nil {
		return err
	}
	return nil
}

type inline string

func (s inline) Value() (string, error) { return string(s), nil }

type handlers struct {
	counts *counts
	sender *sender
	secret webhook.Secret
}

func (h *handlers) start(w http.ResponseWriter, r *http.Request) {
	rate, err := strconv.Atoi(r.FormValue("rate"))
	if err != nil || rate < 1 {
		http.Error(w, "want a rate", http.StatusBadRequest)
		return
	}
	h.sender.start(rate)
}

func (h *handlers) stop(http.ResponseWriter, *http.Request) { h.sender.stop() }

func (h *handlers) report(w http.ResponseWriter, _ *http.Request) {
	_ = json.NewEncoder(w).Encode(h.counts.report())
}

func reach(w http.ResponseWriter, r *http.Request) {
	conn, err := (&net.Dialer{Timeout: reachTimeout}).DialContext(r.Context(), "tcp", r.FormValue("addr"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	_ = conn.Close()
}

// hook is what the chain's handler forwards to. It takes its time, so that whoever is
// killed has some in hand.
func (h *handlers) hook(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, io.LimitReader(r.Body, maxBody)); err != nil {
		return // the other end was killed
	}
	<-time.After(50 * time.Millisecond)
	h.counts.handled(r.Header.Get("Belay-Event-Id"), r.Header.Get("Idempotency-Key"))
	w.WriteHeader(http.StatusNoContent)
}

func (h *handlers) subscriber(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return
	}
	var event struct{ Delivery string }
	if err := webhook.Verify(r.Header, body, time.Now(), webhook.Tolerance, h.secret); err != nil || json.Unmarshal(body, &event) != nil {
		h.counts.refused()
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	h.counts.delivered(event.Delivery, r.Header.Get("webhook-id"))
	w.WriteHeader(http.StatusNoContent)
}
