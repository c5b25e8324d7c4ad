package main

import (
	"strings"
	"testing"

	"github.com/belay-hooks/belay/internal/testbroker"
)

func TestMigrate(t *testing.T) {
	url := testbroker.Start(t).ClientURL()
	for _, test := range []struct {
		name    string
		args    []string
		want    string
		problem string
	}{
		{"an empty server", []string{"--shards", "2"}, "2 shard(s), 1 replica(s)", ""},
		{"again, as it is", nil, "2 shard(s), 1 replica(s)", ""},
		{"another number of shards", []string{"--shards", "3"}, "", "cannot be changed in place"},
	} {
		t.Run(test.name, func(t *testing.T) {
			stdout, stderr, err := belay(t, append([]string{"migrate", "--nats-url", url}, test.args...)...)
			if test.problem != "" {
				if err == nil || !strings.Contains(err.Error(), test.problem) {
					t.Errorf("it ended with %v, want %s", err, test.problem)
				}
				return
			}
			if err != nil || !strings.Contains(stdout, test.want) {
				t.Errorf("it ended with %v and %s%s, want %s", err, stdout, stderr, test.want)
			}
		})
	}
}

func TestMigrateWithoutAServer(t *testing.T) {
	const url = "nats://127.0.0.1:1" // a port that nobody may listen on without being asked
	_, stderr, err := belay(t, "migrate", "--nats-url", url, "--timeout", "300ms")
	want := "no answer from " + url + " within 300ms: is the server running, with JetStream (nats-server -js)?"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if !strings.Contains(stderr, "waiting for the NATS server at "+url) {
		t.Errorf("it said %s", stderr)
	}
}
