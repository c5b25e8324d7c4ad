// Package ceiling holds the barest loops that could do what Belay does: what a
// program of these parts can reach at all, and what Belay is measured against.
// None of them routes, limits, logs, counts or recovers.
package ceiling

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// HTTP is a handler that reads the body and answers 202.
func HTTP() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := read(w, r); ok {
			w.WriteHeader(http.StatusAccepted)
		}
	})
}

// HTTPWithHMAC is [HTTP] that also checks the body's HMAC-SHA256, as GitHub signs.
func HTTPWithHMAC(secret []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := verified(w, r, secret); ok {
			w.WriteHeader(http.StatusAccepted)
		}
	})
}

// HTTPWithHMACAndPublish is [HTTPWithHMAC] that also stores the body, with the
// delivery id for deduplication, and answers after the broker's confirmation.
func HTTPWithHMACAndPublish(secret []byte, p *Publisher, subject string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := verified(w, r, secret)
		if !ok {
			return
		}
		if err := p.publishAsync(r.Context(), subject, r.Header.Get("X-Github-Delivery"), body); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
}

func read(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	if r.ContentLength < 0 {
		http.Error(w, "want a Content-Length", http.StatusLengthRequired)
		return nil, false
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil, false
	}
	return body, true
}

func verified(w http.ResponseWriter, r *http.Request, secret []byte) ([]byte, bool) {
	body, ok := read(w, r)
	if !ok {
		return nil, false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	given, err := hex.DecodeString(strings.TrimPrefix(r.Header.Get("X-Hub-Signature-256"), "sha256="))
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		http.Error(w, "wrong signature", http.StatusUnauthorized)
		return nil, false
	}
	return body, true
}

// Publisher stores messages over one connection that all callers share.
type Publisher struct {
	nc *nats.Conn
	js jetstream.JetStream
}

// Connect connects to the broker at the URL.
func Connect(url string) (*Publisher, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker at %s: %w", url, err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("set up JetStream: %w", err)
	}
	return &Publisher{nc: nc, js: js}, nil
}

// Close ends the connection.
func (p *Publisher) Close() { p.nc.Close() }

// Publish stores one message and returns once the broker has confirmed it.
func (p *Publisher) Publish(ctx context.Context, subject, id string, header map[string][]string, data []byte) error {
	m := &nats.Msg{Subject: subject, Header: make(nats.Header, len(header)+1), Data: data}
	for name, values := range header {
		m.Header[name] = values
	}
	m.Header[jetstream.MsgIDHeader] = []string{id}
	_, err := p.js.PublishMsg(ctx, m)
	return err
}

func (p *Publisher) publishAsync(ctx context.Context, subject, id string, data []byte) error {
	m := &nats.Msg{Subject: subject, Header: nats.Header{jetstream.MsgIDHeader: []string{id}}, Data: data}
	ack, err := p.js.PublishMsgAsync(m)
	if err != nil {
		return err
	}
	select {
	case <-ack.Ok():
		return nil
	case err := <-ack.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
