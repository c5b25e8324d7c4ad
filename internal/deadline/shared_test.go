package deadline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestSharedContexts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, began := In(10*time.Second), time.Now()
		first := s.Context()
		<-time.After(time.Second)
		if s.Context() != first {
			t.Error("another context within a tenth of the while")
		}
		<-time.After(time.Millisecond)
		second := s.Context()
		if second == first {
			t.Error("who asks later has less than the whole while")
		}
		<-first.Done()
		if took := time.Since(began); took != 11*time.Second || !errors.Is(first.Err(), context.DeadlineExceeded) {
			t.Errorf("ended after %v: %v", took, first.Err())
		}
		if second.Err() != nil {
			t.Error("the next one ended with it")
		}
		<-second.Done()
		if end, ok := second.Deadline(); !ok || end.Sub(began) != 12*time.Second+time.Millisecond {
			t.Errorf("the next one ends after %v", end.Sub(began))
		}
	})
}
