package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/belay-hooks/belay/pkg/config"
	"github.com/belay-hooks/belay/pkg/receiver"
	"github.com/belay-hooks/belay/pkg/receiver/samples"
	"github.com/belay-hooks/belay/pkg/webhook"
)

// demoYAML is the configuration of serve --dev.
//
//go:embed demo.yaml
var demoYAML []byte

// demoAddr is where demo.yaml's chain forwards to.
const demoAddr = "127.0.0.1:8083"

// demoDescription marks the subscription of the demo's subscriber, so that a
// kept data directory does not collect them.
const demoDescription = "the subscriber of belay serve --dev"

const (
	// demoTimeout bounds a request of the demo, and how long its server waits for one.
	demoTimeout = 10 * time.Second
	// demoMaxBody is more than Belay delivers.
	demoMaxBody = 32 << 20
)

// demo is the other side, for trying out: a program that events are forwarded to,
// and a subscriber that verifies what is delivered to it. Both say what they got.
type demo struct {
	listener net.Listener
	secret   webhook.Secret
	log      *slog.Logger
}

func newDemo(addr string, log *slog.Logger) (*demo, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("demo subscriber: %w; give another BELAY_DEMO_ADDR if it is taken", err)
	}
	return &demo{listener: listener, secret: webhook.NewSecret(), log: log}, nil
}

func (d *demo) url(path string) string { return "http://" + d.listener.Addr().String() + path }

// configuration is demo.yaml with the address that the demo really has.
func (d *demo) configuration() []byte {
	return bytes.ReplaceAll(demoYAML, []byte("http://"+demoAddr), []byte(d.url("")))
}

// demoFile is the demo's configuration, with a source of every other receiver that
// belay send has samples of: their secrets are public as well.
func demoFile(text []byte, opt config.Options) (*config.File, error) {
	f, err := config.Parse("demo.yaml", text, opt)
	if err != nil {
		return nil, err
	}
	for _, slug := range samples.Receivers() {
		if slices.ContainsFunc(f.Sources, func(s config.Source) bool { return s.Receiver == slug }) {
			continue
		}
		r, ok := receiver.Lookup(slug)
		if !ok {
			return nil, fmt.Errorf("there are samples of %s, which is no receiver", slug)
		}
		public, err := samples.Secret(r)
		if err != nil {
			return nil, err
		}
		secret, err := config.NewSecret(public, opt)
		if err != nil {
			return nil, fmt.Errorf("the demo's secret of %s: %w", slug, err)
		}
		f.Sources = append(f.Sources, config.Source{Receiver: slug, ID: config.DefaultSourceID, Secrets: []*config.Secret{secret}})
	}
	return f, nil
}

// Run serves until the context ends.
func (d *demo) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /forward", d.forwarded)
	mux.HandleFunc("POST /subscriber", d.delivered)
	server := &http.Server{Handler: mux, ReadTimeout: demoTimeout}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// forwarded is the program that the chain's http handler posts to.
func (d *demo) forwarded(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, demoMaxBody))
	if err != nil {
		http.Error(w, "unreadable body", http.StatusBadRequest)
		return
	}
	d.log.Info("handled: forward", "to", "a program of yours", "bytes", n)
}

// delivered is the subscriber: it does what every subscriber should.
func (d *demo) delivered(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, demoMaxBody))
	if err != nil {
		http.Error(w, "unreadable body", http.StatusBadRequest)
		return
	}
	if err := webhook.Verify(r.Header, body, time.Now(), webhook.Tolerance, d.secret); err != nil {
		d.log.Warn("subscriber: refused", "error", err)
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	d.log.Info("subscriber: signature verified", "id", r.Header.Get(webhook.HeaderID), "bytes", len(body), "body", begin(body))
}

// begin is the beginning of a body, on one line.
func begin(body []byte) string {
	const most = 60
	text := strings.Join(strings.Fields(string(body[:min(len(body), 4*most)])), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// subscribe makes the subscription of the demo's subscriber, by the API that
// everybody uses. The earlier one of a kept data directory is deleted: its
// secret is gone.
func (d *demo) subscribe(ctx context.Context, api, key string) error {
	for cursor := ""; ; {
		var page struct {
			Subscriptions []struct{ ID, Description string }
			Next          string
		}
		if err := call(ctx, http.MethodGet, api+"/v1/subscriptions?cursor="+url.QueryEscape(cursor), key, nil, &page); err != nil {
			return err
		}
		for _, s := range page.Subscriptions {
			if s.Description != demoDescription {
				continue
			}
			if err := call(ctx, http.MethodDelete, api+"/v1/subscriptions/"+url.PathEscape(s.ID), key, nil, nil); err != nil {
				return err
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	return call(ctx, http.MethodPost, api+"/v1/subscriptions", key, map[string]any{
		"url": d.url("/subscriber"), "filters": []string{"*"}, "secret": d.secret.Reveal(), "description": demoDescription,
	}, nil)
}

// call makes one call of the outbox API.
func call(ctx context.Context, method, to, key string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, to, &body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("call the outbox API: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("call the outbox API: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("call the outbox API: %s %s answered %d: %s", method, r.URL.Path, resp.StatusCode, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
