package outbox

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBreaker(t *testing.T) {
	t.Parallel()
	fail, serve := ended{}, ended{served: true}
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		try := func(e ended) {
			t.Helper()
			if until := b.refuses(time.Now(), time.Second); !until.IsZero() {
				t.Fatalf("refuses until %v", until)
			}
			e.probe = b.begin()
			b.end(e, time.Now())
		}
		open := func(want time.Duration) {
			t.Helper()
			if got := time.Until(b.refuses(time.Now(), time.Second)); got != want {
				t.Fatalf("open for %v, want %v", got, want)
			}
		}
		for range breakerFailures - 1 {
			try(fail)
		}
		try(serve)
		for range breakerFailures {
			try(fail)
		}
		open(openFor)
		// What began before does not count, unless it was served after all.
		b.end(fail, time.Now())
		open(openFor)
		for want := 2 * openFor; want <= openAtMost; want *= 2 {
			<-time.After(time.Until(b.until))
			try(fail)
			open(want)
		}
		<-time.After(time.Until(b.until))
		try(fail)
		open(openAtMost)

		// One probe at a time, and one that was cut short leaves room for another.
		<-time.After(openAtMost)
		if !b.begin() {
			t.Fatal("not a probe")
		}
		open(time.Second)
		b.end(ended{cut: true, probe: true}, time.Now())
		try(serve)
		if !b.closed() {
			t.Fatal("still open")
		}

		// The endpoint asks to be left alone, also while it is probed.
		try(ended{putOff: time.Minute})
		open(time.Minute)
		<-time.After(time.Minute)
		probe := b.begin()
		b.end(ended{putOff: time.Hour}, time.Now())
		b.end(ended{probe: probe}, time.Now())
		<-time.After(time.Hour)
		try(serve)
		if !b.closed() {
			t.Fatal("still open")
		}
	})
}
