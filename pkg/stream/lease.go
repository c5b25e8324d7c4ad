package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrNotOwner: this process does not, or does no longer, own what it worked on.
var ErrNotOwner = errors.New("another process owns it now")

// A Lease says for how long this process may take it that it owns its parts. It
// is extended by an entry in the bucket that is written again and again, each time
// only if nobody else has written there; so who wants to take its parts away writes
// there too, once the lease has run out, and is told if it has not:
//
//	owner    ──write──▶ sent ···· lease × 4/5 ──▶ owns nothing any more
//	another             seen ············ lease ──▶ may take it
//
// The other sees the entry after it was sent, and waits longer than the owner
// holds: no two clocks are compared, they only have to run at the same speed.
type Lease struct {
	lose context.CancelCauseFunc

	mu    sync.Mutex
	until time.Time
}

// Held tells whether the lease has not run out. A process that was stopped for a
// while must ask before it begins something.
func (l *Lease) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	// The second comparison is by the wall clock: the other one may stand still
	// while the machine sleeps.
	return now.Before(l.until) && now.Round(0).Before(l.until.Round(0))
}

func (l *Lease) extend(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
}

// member is one process in a [Broker.Split]: its entry in the bucket.
type member struct {
	bucket   *Bucket
	key      string
	revision uint64
	length   time.Duration // of the lease
	lease    Lease
}

// What the entry of a member says.
const (
	memberHere = "here"
	memberGone = "gone" // somebody takes its parts: it can never be here again
)

// renewals is how often a lease is extended within its length, so that one that
// is late does not end it.
const renewals = 5

// keep extends the lease until ctx ends, or it is lost.
func (m *member) keep(ctx context.Context) {
	ticker := time.NewTicker(m.length / renewals)
	defer ticker.Stop()
	expiry := time.AfterFunc(m.holds(), func() {
		m.lease.lose(fmt.Errorf("%w: the lease could not be extended for %v", ErrNotOwner, m.holds()))
	})
	defer expiry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		sent := time.Now()
		switch err := m.renew(ctx); {
		case err == nil && m.lease.Held():
			m.lease.extend(sent.Add(m.holds()))
			expiry.Reset(m.holds() - time.Since(sent))
		case errors.Is(err, ErrNotOwner):
			m.lease.extend(time.Time{})
			m.lease.lose(err)
			return
		}
	}
}

// holds is how long a member takes the lease to last from when it was extended.
func (m *member) holds() time.Duration { return m.length * 4 / 5 }

// join makes the entry.
func (m *member) join(ctx context.Context) error {
	sent := time.Now()
	var err error
	m.revision, err = m.bucket.Create(ctx, m.key, []byte(memberHere))
	if errors.Is(err, ErrConflict) {
		err = nil // nobody else knows the key: the confirmation of it was lost
	}
	m.lease.extend(sent.Add(m.holds()))
	return err
}

// renew writes the entry again, if nobody else has.
func (m *member) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.length/2)
	defer cancel()
	revision, err := m.bucket.Update(ctx, m.key, []byte(memberHere), m.revision)
	if errors.Is(err, ErrConflict) {
		// It may be our own write of a moment ago, of which no confirmation came.
		var e Entry
		switch e, err = m.bucket.Get(ctx, m.key); {
		case errors.Is(err, ErrNotFound), err == nil && string(e.Value) != memberHere:
			return fmt.Errorf("%w: the lease was taken away", ErrNotOwner)
		case err == nil:
			revision, err = m.bucket.Update(ctx, m.key, []byte(memberHere), e.Revision)
		}
	}
	if err == nil {
		m.revision = revision
	}
	return err
}

// leave ends the membership: nobody has to wait for the lease to run out.
func (m *member) leave(ctx context.Context) error {
	_, err := m.bucket.Update(ctx, m.key, []byte(memberGone), m.revision)
	return err
}
