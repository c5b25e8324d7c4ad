package testbroker

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Foreign is somebody else on the same broker, with streams and subscriptions of his
// own.
type Foreign struct {
	t  testing.TB
	nc *nats.Conn
}

// Foreign connects somebody else, until the test ends.
func (s *Server) Foreign() *Foreign {
	s.t.Helper()
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return &Foreign{s.t, nc}
}

// AddStream makes a stream that takes a subject.
func (f *Foreign) AddStream(name, subject string) {
	f.t.Helper()
	js, err := jetstream.New(f.nc)
	if err == nil {
		_, err = js.CreateStream(f.t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}})
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// Count is how many messages a stream has.
func (f *Foreign) Count(name string) int {
	f.t.Helper()
	js, err := jetstream.New(f.nc)
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := js.Stream(f.t.Context(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	return int(s.CachedInfo().State.Msgs)
}

// Subscribe gets what is published to a subject, as the server hands it on.
func (f *Foreign) Subscribe(subject string) <-chan *nats.Msg {
	f.t.Helper()
	messages := make(chan *nats.Msg, 64)
	if _, err := f.nc.ChanSubscribe(subject, messages); err != nil {
		f.t.Fatal(err)
	}
	if err := f.nc.Flush(); err != nil {
		f.t.Fatal(err)
	}
	return messages
}
