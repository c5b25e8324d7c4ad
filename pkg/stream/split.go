package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nuid"
)

// SplitConfig says what processes split among themselves.
type SplitConfig struct {
	// Name is the same in all processes that split the same. Letters, digits, -
	// and _.
	Name string
	// Parts is the number of parts, the same in all processes: 0 to Parts-1.
	Parts int
	// Lease is how long a process that has died keeps its parts from the others.
	// It should be longer than the broker may be away. 0: 15 s.
	Lease time.Duration
	// Run works on a part until fetch ends, and ends what it has begun before it
	// returns. Then another process may have the part. Its context work ends when
	// it must stop at once, because the lease has run out. It may return early,
	// and is called again.
	Run func(fetch, work context.Context, part int, lease *Lease)
}

// defaultLease is longer than a cluster needs to elect a leader (4 to 9 s) and
// the time between two renewals.
const defaultLease = 15 * time.Second

// Split runs the parts that fall to this process until fetch ends and all that
// runs has ended. No part runs in two processes at a time, and each process gets
// its share, or one more: who has too many, because another one joined, lets the
// last ones go. Where there are more processes than parts, some have none and
// stand by. What a process that died had goes to the others when its lease has run
// out; what one that ended had, at once.
func (b *Broker) Split(fetch, work context.Context, c SplitConfig) {
	if c.Lease == 0 {
		c.Lease = defaultLease
	}
	for fetch.Err() == nil {
		newSplit(b, c).run(fetch, work)
	}
}

// split is one membership of a process. When the lease is lost the next one
// begins under another id.
type split struct {
	SplitConfig
	b      *Broker
	bucket *Bucket
	id     string
	member *member
	view   *splitView

	running map[int]*runningPart
	ended   chan int
	again   map[int]time.Time // a part that ended by itself waits a moment
}

type runningPart struct {
	stop     context.CancelFunc
	revision uint64 // of the owner's entry
	written  time.Time
}

// ownersTTL is how long an entry of the bucket is kept that nobody writes again.
const ownersTTL = time.Hour

// partPause keeps a part that ended by itself from being tried in a tight loop.
const partPause = time.Second

func newSplit(b *Broker, c SplitConfig) *split {
	id := nuid.Next()
	bucket := b.Bucket(Owners)
	return &split{
		SplitConfig: c, b: b, bucket: bucket, id: id,
		member: &member{bucket: bucket, key: "member." + c.Name + "." + id, length: c.Lease},
		view:   newSplitView(c),
		// A part that ends says so even if nobody listens yet.
		running: make(map[int]*runningPart), ended: make(chan int, c.Parts), again: make(map[int]time.Time),
	}
}

func (s *split) run(fetch, work context.Context) {
	work, s.member.lease.lose = context.WithCancelCause(work)
	defer s.member.lease.lose(nil)
	said := false
	if err := retry(fetch, func() error {
		// Not cut short: the others would wait for whom they see and who has not left.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(fetch), s.Lease/renewals)
		defer cancel()
		err := s.member.join(ctx)
		if err != nil && !said {
			s.b.log.Warn("cannot join those who share the shards of an ordered chain, trying again", "chain", s.Name, "error", err)
			said = true
		}
		return err
	}); err != nil {
		return // fetch has ended
	}
	beside, stop := context.WithCancel(context.WithoutCancel(fetch))
	var besides sync.WaitGroup
	besides.Go(func() { s.member.keep(beside) })
	besides.Go(func() { s.view.watch(beside, s.bucket) })
	s.balance(fetch, work)
	stop()
	besides.Wait()
	if cause := context.Cause(work); errors.Is(cause, ErrNotOwner) {
		s.b.log.Warn("the shards of an ordered chain are lost, joining anew", "chain", s.Name, "reason", cause)
	}
	// Nothing runs any more: the others need not wait. If it fails they do.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(fetch), s.Lease/renewals)
	defer cancel()
	if err := s.member.leave(bounded); err != nil {
		s.b.log.Debug("leaving without a word", "chain", s.Name, "error", err)
	}
}

// balance takes and gives up parts until fetch or work ends, and returns when all
// parts have ended.
func (s *split) balance(fetch, work context.Context) {
	ticker := time.NewTicker(s.Lease / 10)
	defer ticker.Stop()
	for fetch.Err() == nil && work.Err() == nil {
		s.adjust(fetch, work)
		select {
		case <-fetch.Done():
		case <-work.Done():
		case <-ticker.C:
		case <-s.view.changed:
		case part := <-s.ended:
			s.release(fetch, part)
			s.again[part] = time.Now().Add(partPause)
		}
	}
	for _, p := range s.running {
		p.stop()
	}
	for len(s.running) > 0 {
		s.release(fetch, <-s.ended)
	}
}

// adjust brings what runs here one step nearer to the share of this process.
func (s *split) adjust(fetch, work context.Context) {
	share := s.view.share(s.id)
	for part := s.Parts - 1; part >= 0 && len(s.running) > share; part-- {
		if p := s.running[part]; p != nil {
			p.stop() // it is counted until it has ended
			share++
		}
	}
	for part := 0; part < s.Parts && len(s.running) < share; part++ {
		if s.running[part] == nil && time.Now().After(s.again[part]) {
			s.claim(fetch, work, part)
		}
	}
	for part, p := range s.running {
		if time.Since(p.written) > ownersTTL/6 {
			s.rewrite(fetch, part, p)
		}
	}
}

// claim takes a part that belongs to nobody, or to a process that is gone.
func (s *split) claim(fetch, work context.Context, part int) {
	owner := s.view.owner(part)
	ctx, cancel := context.WithTimeout(fetch, s.Lease/renewals)
	defer cancel()
	if owner.value != "" && owner.value != s.id && !s.outlived(ctx, owner.value) {
		return
	}
	revision, err := s.write(ctx, part, s.id, owner.revision)
	if err != nil {
		// Somebody was faster; or it is not known, and the next look tells.
		s.b.log.Debug("part not taken", "chain", s.Name, "part", part, "error", err)
		return
	}
	if !s.member.lease.Held() {
		return
	}
	running, stop := context.WithCancel(fetch)
	s.running[part] = &runningPart{stop: stop, revision: revision, written: time.Now()}
	go func() {
		defer func() { s.ended <- part }()
		s.Run(running, work, part, &s.member.lease)
	}()
}

// outlived tells whether a member is gone, and makes sure that it stays so.
func (s *split) outlived(ctx context.Context, id string) bool {
	key := "member." + s.Name + "." + id
	m, known := s.view.member(id)
	var err error
	switch {
	case !known:
		// It has left long ago; or its entry has not reached us yet.
		_, err = s.bucket.Create(ctx, key, []byte(memberGone))
	case m.value == memberGone:
	case time.Since(m.since) < s.Lease:
		return false
	default:
		// Refused if it was here meanwhile.
		_, err = s.bucket.Update(ctx, key, []byte(memberGone), m.revision)
	}
	return err == nil
}

func (s *split) release(ctx context.Context, part int) {
	p := s.running[part]
	p.stop()
	delete(s.running, part)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Lease/renewals)
	defer cancel()
	if _, err := s.write(ctx, part, "", p.revision); err != nil {
		// The entry still names this process, which the others outlive.
		s.b.log.Debug("part not released", "chain", s.Name, "part", part, "error", err)
	}
}

// rewrite keeps the entry of a part from becoming too old.
func (s *split) rewrite(ctx context.Context, part int, p *runningPart) {
	ctx, cancel := context.WithTimeout(ctx, s.Lease/renewals)
	defer cancel()
	revision, err := s.write(ctx, part, s.id, p.revision)
	switch {
	case errors.Is(err, ErrConflict):
		p.stop() // or a confirmation was lost: it is taken again
	case err == nil:
		p.revision, p.written = revision, time.Now()
	}
}

// write writes the owner's entry of a part if it is at the revision; 0: there is
// none.
func (s *split) write(ctx context.Context, part int, owner string, revision uint64) (uint64, error) {
	key := fmt.Sprintf("owner.%s.%d", s.Name, part)
	if revision == 0 {
		return s.bucket.Create(ctx, key, []byte(owner))
	}
	return s.bucket.Update(ctx, key, []byte(owner), revision)
}
