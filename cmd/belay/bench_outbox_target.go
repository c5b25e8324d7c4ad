package main

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/belay-hooks/belay/internal/bench"
	"github.com/belay-hooks/belay/internal/ceiling"
	"github.com/belay-hooks/belay/internal/program"
	"github.com/belay-hooks/belay/outbox"
	"github.com/belay-hooks/belay/pkg/service"
	"github.com/belay-hooks/belay/pkg/stream"
)

// The programs that post what is notified, and the one that they post to.
const (
	programPost   = "post" // posts and stores a line
	programOutbox = "outbox"
	programSink   = "sink"
)

// benchKey is the key of the measured outbox's API.
const benchKey = "belay-bench"

// sink takes what is posted and counts it.
func (t *target) sink() error {
	t.tally = &tally{}
	return t.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "unreadable", http.StatusBadRequest)
			return
		}
		number, sent, err := bench.ReadStamp(body)
		subscriber, err2 := strconv.ParseInt(r.URL.Path[1:], 10, 64)
		if err != nil || err2 != nil {
			http.Error(w, "not of this load", http.StatusBadRequest)
			return
		}
		t.tally.handle(strconv.FormatInt(number*maxSubscribers+subscriber, 10), sent)
		w.WriteHeader(http.StatusNoContent)
	}))
}

// maxSubscribers bounds what is measured.
const maxSubscribers = 1000

// post is the bare loop. With --offered it takes what is stored in a stream, otherwise
// it posts as fast as it goes.
func (t *target) post() error {
	p, err := ceiling.Connect(t.cmd.Broker)
	if err != nil {
		return err
	}
	t.closers = append(t.closers, p.Close)
	poster := ceiling.NewPoster(p, "http://"+t.cmd.Sink+"/0")
	t.Add("bare", service.Func(func(ctx context.Context) error {
		if t.cmd.Offered != "" {
			work := ceiling.Work{Stream: t.cmd.Offered, Goroutines: t.cmd.Concurrency, Confirmed: true}
			return p.Consume(ctx, work, func(_ map[string][]string, body []byte) {
				_ = poster.Post(ctx, body) // what does not arrive is missed there
			})
		}
		var number atomic.Int64
		return poster.Loop(ctx, t.cmd.Concurrency, func() []byte { return bench.Stamp(number.Add(1), time.Now(), t.cmd.Size) })
	}))
	return nil
}

// outbox is an outbox as the program outbox runs it.
func (t *target) outbox(ctx context.Context) error {
	program.CollectLess()
	broker, err := stream.Connect(stream.Config{Name: "outbox", URL: t.cmd.Broker, Logger: t.Log})
	if err != nil {
		return err
	}
	t.closers = append(t.closers, broker.Close)
	if err := broker.Open(ctx); err != nil {
		return err
	}
	server, err := outbox.New(outbox.Config{
		Addr: loopback, APIKeys: []string{benchKey}, Dev: true, Concurrency: t.cmd.Concurrency,
	}, broker, t.Log, t.Ops.Registry())
	if err != nil {
		return err
	}
	t.place.Addr = server.Addr().String()
	t.Add("outbox", server)
	return nil
}
