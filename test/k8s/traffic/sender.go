package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/belay-hooks/belay/pkg/event"
	"github.com/belay-hooks/belay/pkg/receiver"
)

const (
	// answerTimeout is how long GitHub waits for an answer.
	answerTimeout = 10 * time.Second
	// resendAfter is how long a webhook waits that was not accepted.
	resendAfter = 200 * time.Millisecond
	// maxInFlight bounds the webhooks that are on their way at once.
	maxInFlight = 512
)

// sender is a provider: each webhook is sent again, under the same id, until it is
// accepted.
type sender struct {
	url    string
	source *receiver.Source
	counts *counts

	mu   sync.Mutex
	quit chan struct{} // nil: nothing is sent
	way  sync.WaitGroup
}

func (s *sender) start(rate int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quit != nil {
		return
	}
	s.quit = make(chan struct{})
	s.way.Go(func() { s.tick(rate, s.quit) })
}

// stop returns once everything that was sent is accepted.
func (s *sender) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quit == nil {
		return
	}
	close(s.quit)
	s.quit = nil
	s.way.Wait()
}

func (s *sender) tick(rate int, quit <-chan struct{}) {
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	// Every webhook on a connection of its own, as from many senders: a connection that
	// is kept would stay with the pod that it was made to.
	client := &http.Client{Timeout: answerTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	places := make(chan struct{}, maxInFlight)
	for {
		select {
		case <-quit:
			return
		case <-ticker.C:
		}
		select {
		case places <- struct{}{}:
		default:
			continue // too many are on their way
		}
		s.way.Go(func() {
			s.send(client, event.NewID())
			<-places
		})
	}
}

// send sends one webhook until it is accepted.
func (s *sender) send(client *http.Client, id string) {
	body := fmt.Appendf(nil, `{"delivery":%q,"ref":"refs/heads/main"}`, id)
	s.counts.sent(id)
	for {
		status, err := s.try(client, id, body)
		if err != nil {
			status = 0 // nobody there, or it was killed with our request in its hands
		}
		s.counts.answered(id, status)
		if status/100 == 2 {
			return
		}
		<-time.After(resendAfter)
	}
}

func (s *sender) try(client *http.Client, id string, body []byte) (int, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-GitHub-Delivery", id)
	if _, err := s.source.Sign(r, body, time.Now()); err != nil {
		return 0, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// subscribe registers this pod at the outbox, as soon as that can be done.
func (h *handlers) subscribe(ctx context.Context, outbox, key, target string) {
	body, err := json.Marshal(map[string]any{"url": target, "filters": []string{"*"}, "secret": h.secret.Reveal()})
	if err != nil {
		panic(err) // texts can be encoded
	}
	client := &http.Client{Timeout: answerTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	for ctx.Err() == nil {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, outbox+"/v1/subscriptions", bytes.NewReader(body))
		if err != nil {
			panic(err)
		}
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("Content-Type", "application/json")
		if resp, err := client.Do(r); err == nil {
			answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
			resp.Body.Close()
			if resp.StatusCode == http.StatusCreated {
				h.counts.subscribed()
				return
			}
			slog.Warn("not subscribed", "status", resp.Status, "answer", string(answer))
		}
		<-time.After(time.Second)
	}
}
