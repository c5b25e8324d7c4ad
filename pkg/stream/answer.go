package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// An Answer is what a chain says to the sender of an event, who waits for it.
type Answer struct {
	// Status is the HTTP status. 0: the chain has nothing to say.
	Status int `json:"status,omitempty"`
	// Header are the headers of the answer.
	Header map[string][]string `json:"header,omitempty"`
	// Body is the body of the answer.
	Body []byte `json:"body,omitempty"`
}

const (
	// MaxAnswer is the largest body of an [Answer] in bytes. Those who wait, wait
	// for a line of text or a document that tells a telephone what to say.
	MaxAnswer = 256 << 10
	// maxAnswerHeader bounds the headers of an answer: names and values, in bytes.
	maxAnswerHeader = 4 << 10

	// headerAnswer says who is asked to answer the sender of an event, and where
	// to: <chain> <subject>. It is no part of the event, so handlers do not see it.
	headerAnswer = "belay-answer"
	// answerPrefix begins the subjects of answers: belay.answer.<process>.<number>.
	// No stream keeps them. Who waits gets them from memory to memory, or not at all.
	answerPrefix = "belay.answer."

	// maxWaitingAnswers bounds how many answers may wait in the client for the one
	// goroutine that hands them out.
	maxWaitingAnswers = 10_000
	maxWaitingBytes   = 64 << 20
)

// A mailbox is where the answers to all questions of a process arrive: one
// subscription, made with the first question.
type mailbox struct {
	mu      sync.Mutex
	prefix  string // of the subjects; empty until it is subscribed to
	number  uint64
	waiting map[string]chan<- Answer // by subject
}

// open subscribes once. It is called with the lock.
func (m *mailbox) open(nc *nats.Conn) error {
	if m.prefix != "" {
		return nil
	}
	prefix := answerPrefix + nuid.Next() + "."
	sub, err := nc.Subscribe(prefix+"*", m.deliver)
	if err != nil {
		return fmt.Errorf("subscribe to answers: %w", brokerError(err))
	}
	if err := sub.SetPendingLimits(maxWaitingAnswers, maxWaitingBytes); err != nil {
		return fmt.Errorf("subscribe to answers: %w", err)
	}
	m.prefix, m.waiting = prefix, make(map[string]chan<- Answer)
	return nil
}

// deliver hands an answer to who waits for it. What nobody waits for any more is
// late, and dropped.
func (m *mailbox) deliver(msg *nats.Msg) {
	m.mu.Lock()
	waits, ok := m.waiting[msg.Subject]
	delete(m.waiting, msg.Subject)
	m.mu.Unlock()
	if !ok {
		return
	}
	var a Answer
	if err := json.Unmarshal(msg.Data, &a); err != nil {
		a = Answer{} // not of this version: there is nothing to say
	}
	waits <- a // it has room for one, and gets one
}

// A Question asks a chain for its answer to an event. See [Broker.Ask].
type Question struct {
	mailbox *mailbox
	chain   string
	subject string
	answer  <-chan Answer
}

// Ask makes a question to a chain, which travels with an event that is stored
// with [Broker.StoreAsking]. It must be closed.
func (b *Broker) Ask(chain string) (*Question, error) {
	m := &b.mailbox
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.open(b.nc); err != nil {
		return nil, err
	}
	m.number++
	answer := make(chan Answer, 1)
	q := &Question{mailbox: m, chain: chain, subject: m.prefix + strconv.FormatUint(m.number, 10), answer: answer}
	m.waiting[q.subject] = answer
	return q, nil
}

// Answer waits for what the chain says, until ctx ends. The chain may say that
// it has nothing to say, which is an answer of status 0, and it may never say
// anything: the caller sets the bound.
func (q *Question) Answer(ctx context.Context) (Answer, error) {
	select {
	case a := <-q.answer:
		return a, nil
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}
}

// Close ends the waiting: an answer that comes later is dropped.
func (q *Question) Close() {
	q.mailbox.mu.Lock()
	defer q.mailbox.mu.Unlock()
	delete(q.mailbox.waiting, q.subject)
}

// Asked reports whether the sender of the event waits for this chain's answer.
func (h *Held) Asked(chain string) bool {
	_, ok := h.answerTo(chain)
	return ok
}

func (h *Held) answerTo(chain string) (subject string, ok bool) {
	if len(h.Header[headerAnswer]) == 0 {
		return "", false
	}
	asked, subject, _ := strings.Cut(h.Header[headerAnswer][0], " ")
	// Nothing that was stored is to make us publish elsewhere.
	ok = asked == chain && strings.HasPrefix(subject, answerPrefix) && !strings.ContainsAny(subject, "*> \t\r\n")
	return subject, ok
}

// Answer sends the chain's answer to who waits for it; without one it does
// nothing. It is sent once and not confirmed: who does not get it answers the
// sender without. It fails with [ErrTooLarge], and has then said that the chain
// has nothing to say.
func (b *Broker) Answer(h *Held, chain string, a Answer) error {
	subject, ok := h.answerTo(chain)
	if !ok {
		return nil
	}
	tooLarge := a.tooLarge()
	if tooLarge != nil {
		a = Answer{}
	}
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if err := b.nc.Publish(subject, data); err != nil {
		return fmt.Errorf("answer: %w", brokerError(err))
	}
	return tooLarge
}

func (a Answer) tooLarge() error {
	size := 0
	for name, values := range a.Header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	switch {
	case len(a.Body) > MaxAnswer:
		return fmt.Errorf("the answer's body is larger than %d bytes: %w", MaxAnswer, ErrTooLarge)
	case size > maxAnswerHeader:
		return fmt.Errorf("the answer's headers are larger than %d bytes: %w", maxAnswerHeader, ErrTooLarge)
	}
	return nil
}
