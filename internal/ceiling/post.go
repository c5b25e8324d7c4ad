package ceiling

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belay-hooks/belay/pkg/webhook"
)

// Poster posts signed bodies, and stores a line for each that was taken. Its client
// is set as the outbox's is.
type Poster struct {
	publisher *Publisher
	client    *http.Client
	url       string
	secret    webhook.Secret
	number    atomic.Int64
}

// NewPoster posts to a URL.
func NewPoster(p *Publisher, url string) *Poster {
	return &Poster{publisher: p, url: url, secret: webhook.NewSecret(), client: &http.Client{Transport: &http.Transport{
		MaxIdleConns: 1024, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second, DisableCompression: true, WriteBufferSize: 16 << 10,
	}}}
}

// Post posts one body and stores what came of it.
func (p *Poster) Post(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	id := "msg_" + strconv.FormatInt(p.number.Add(1), 10)
	r.Header.Set("Content-Type", "application/json")
	if err := webhook.Sign(r.Header, id, time.Now(), body, p.secret); err != nil {
		return err
	}
	began := time.Now()
	resp, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	if err != nil {
		return err
	}
	line := fmt.Sprintf(`{"delivery":%q,"status":%d,"ms":%g,"response":%q}`, id, resp.StatusCode, time.Since(began).Seconds()*1e3, answer)
	_, err = p.publisher.js.Publish(ctx, "belay.attempt.bench", []byte(line))
	return err
}

// Loop posts the bodies that next makes from so many goroutines, until ctx ends.
func (p *Poster) Loop(ctx context.Context, goroutines int, next func() []byte) error {
	var running sync.WaitGroup
	errs := make(chan error, goroutines)
	for range goroutines {
		running.Go(func() {
			for ctx.Err() == nil {
				if err := p.Post(ctx, next()); err != nil && ctx.Err() == nil {
					errs <- err
					return
				}
			}
		})
	}
	running.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}
