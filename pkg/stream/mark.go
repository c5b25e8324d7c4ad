package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// markAhead is how far a mark is raised at once: every so many messages cost a write,
// and up to so many more are looked into after a crash.
const markAhead = 128

// A mark is a promise of all processes that use a ledger: none of them has begun with
// a message above it. So they know after a crash, in which a single broker forgets whom
// it had handed what, which of a backlog they need not look into.
type mark struct {
	key   string // in [State]
	known uint64 // what it is at least
}

// MarkedLedger is the [Broker.Ledger] of those who call [Ledger.Begin] before they
// begin with a message: only what is below the mark has somebody begun with.
func (b *Broker) MarkedLedger(name string, shard int) *Ledger {
	l := b.Ledger(name, shard)
	l.mark = &mark{key: fmt.Sprintf("mark.%s.%d", name, shard)}
	return l
}

// Begin makes it known that the message seq is begun with, or one that comes soon.
func (l *Ledger) Begin(ctx context.Context, seq uint64) error {
	l.marking.Lock()
	defer l.marking.Unlock()
	for seq > l.mark.known {
		stored, revision, err := l.readMark(ctx)
		if err != nil {
			return err
		}
		if stored < seq {
			stored = seq + markAhead
			text := []byte(strconv.FormatUint(stored, 10))
			if _, err := l.b.Bucket(State).Replace(ctx, l.mark.key, text, revision); errors.Is(err, ErrConflict) {
				continue // somebody else has raised it
			} else if err != nil {
				return err
			}
		}
		l.mark.known = stored
	}
	return nil
}

// readMark reads the mark, and the revision that it has; 0 where there is none.
func (l *Ledger) readMark(ctx context.Context) (mark, revision uint64, err error) {
	entry, err := l.b.Bucket(State).GetNewest(ctx, l.mark.key)
	switch {
	case errors.Is(err, ErrNotFound):
		return 0, 0, nil
	case err != nil:
		return 0, 0, err
	}
	if mark, err = strconv.ParseUint(string(entry.Value), 10, 64); err != nil {
		return 0, 0, fmt.Errorf("the mark %s is no number: %w", l.mark.key, err)
	}
	return mark, entry.Revision, nil
}

// begunUpTo is the last message of a stream, of which tail is the newest, that
// somebody may have begun with.
func (l *Ledger) begunUpTo(ctx context.Context, tail uint64) (uint64, error) {
	if l.mark == nil {
		return tail, nil
	}
	stored, _, err := l.readMark(ctx)
	return stored, err
}
