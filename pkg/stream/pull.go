package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// A request for messages stays open for this long: also the time that a process
	// that stops waits for what is on its way to it.
	pullFor = 2 * time.Second
	// A broker that is silent for two of these is gone.
	heartbeat = 900 * time.Millisecond
)

// pull asks the broker for as many messages as there is room for, and starts
// each as it comes.
func (r *run) pull(open, work context.Context) error {
	if err := r.b.Ready(open); err != nil {
		return err
	}
	if r.Ledger != nil {
		if err := r.Ledger.load(open, r.Consumer); err != nil {
			return err
		}
	}
	n, bytes := r.awaitRoom(open)
	if n == 0 {
		return nil
	}
	err := r.receive(open, work, n, bytes)
	if err != nil && r.Ledger != nil {
		r.Ledger.doubt()
	}
	return err
}

// receive asks for n messages and starts each as it comes.
func (r *run) receive(open, work context.Context, n int, bytes int64) (err error) {
	if r.inbox == nil {
		if r.inbox, err = r.openInbox(cap(r.waiting)); err != nil {
			return err
		}
	}
	q, err := r.inbox.ask(n, bytes)
	for err == nil {
		var msg *nats.Msg
		if msg, err = q.message(); msg == nil {
			break
		}
		r.start(open, work, msg)
	}
	if err != nil {
		r.closeInbox()
	}
	return err
}

// closeInbox gives up what is still to come.
func (r *run) closeInbox() {
	if r.inbox != nil {
		r.inbox.close()
		r.inbox = nil
	}
}

// An inbox is where the broker puts the messages that one run of a consumer asks for,
// a request at a time: the pull of [ADR-13]. The client's own Fetch takes the end of
// a request for the end of its messages. But a cluster hands a message out once a
// quorum remembers to whom, and tells before that that a batch is complete: what
// Fetch does not wait for then stays away until its deadline, over and over.
//
// [ADR-13]: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-13.md
type inbox struct {
	conn     *nats.Conn
	next     string // where requests go
	reply    string // to what messages come, with the number of the request
	requests int
	messages chan *nats.Msg
	sub      *nats.Subscription
}

// openInbox subscribes to the answers to requests of up to size messages.
func (c *Consumer) openInbox(size int) (*inbox, error) {
	in := &inbox{
		conn: c.b.nc, next: "$JS.API.CONSUMER.MSG.NEXT." + c.stream + "." + c.name, reply: c.b.nc.NewInbox() + ".",
		// What the broker tells of a request comes beside its messages.
		messages: make(chan *nats.Msg, size+16),
	}
	var err error
	if in.sub, err = in.conn.ChanSubscribe(in.reply+"*", in.messages); err != nil {
		return nil, fmt.Errorf("listen for messages of %s: %w", c.stream, brokerError(err))
	}
	return in, nil
}

// close gives up what is still to come.
func (in *inbox) close() {
	_ = in.sub.Unsubscribe() // fails where the connection is closed: then nothing comes
}

// A request for messages.
type request struct {
	in    *inbox
	reply string
	due   int           // how many of them are still to come
	quiet time.Duration // how long it may be before one does, or a heartbeat
}

// pullRequest is what the broker is sent.
type pullRequest struct {
	Batch     int           `json:"batch"`
	MaxBytes  int64         `json:"max_bytes,omitempty"`
	Expires   time.Duration `json:"expires"`
	Heartbeat time.Duration `json:"idle_heartbeat"`
}

// ask asks for up to n messages, of up to so many bytes together; 0: of any size.
func (in *inbox) ask(n int, bytes int64) (*request, error) {
	in.requests++
	q := &request{in: in, reply: in.reply + strconv.Itoa(in.requests), due: n, quiet: 2 * heartbeat}
	data, err := json.Marshal(pullRequest{Batch: n, MaxBytes: bytes, Expires: pullFor, Heartbeat: heartbeat})
	if err != nil {
		return nil, err
	}
	if err := in.conn.PublishRequest(in.next, q.reply, data); err != nil {
		return nil, brokerError(err)
	}
	return q, nil
}

// message returns the next message; nil when all have come that will.
func (q *request) message() (*nats.Msg, error) {
	for q.due > 0 {
		m, err := q.receive()
		if err != nil {
			return nil, err
		}
		if m.Reply != "" { // what is to be acknowledged
			q.due--
			return m, nil
		}
		if m.Subject != q.reply {
			continue // an earlier request that has ended
		}
		if err := q.hear(m.Header); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// receive waits for what the broker sends.
func (q *request) receive() (*nats.Msg, error) {
	select {
	case m := <-q.in.messages:
		return m, nil
	default:
	}
	silent := time.NewTimer(q.quiet)
	defer silent.Stop()
	select {
	case m := <-q.in.messages:
		return m, nil
	case <-silent.C:
		return nil, fmt.Errorf("%w: it was silent for %v with %d messages to come", ErrUnavailable, q.quiet, q.due)
	}
}

// hear takes what the broker tells of the request: that it is alive; that it sends no
// more than what is on its way, as the time is up or the bytes are used; or that it
// cannot answer any more.
func (q *request) hear(h nats.Header) error {
	if h.Get("Status") == "100" {
		return nil
	}
	left, err := strconv.Atoi(h.Get("Nats-Pending-Messages"))
	if err != nil {
		return fmt.Errorf("%w: the request for messages ended: %s %s", ErrUnavailable, h.Get("Status"), h.Get("Description"))
	}
	q.due -= left
	q.quiet = requestTimeout // there are no heartbeats from now on
	return nil
}
