//go:build keda

package k8s

import (
	"strconv"
	"testing"
)

// Workers of a chain are scaled from none by its backlog, to several, and back to none.
// It takes KEDA in the cluster.
func TestKedaScalesWorkersToZeroAndBack(t *testing.T) {
	deploy(t, "overlay-keda", "ingress", "outbox", "console")
	waitFor(t, "the subscription", func() bool { return reported(t).Subscribed })
	most := 0
	replicas := func() int {
		n, err := strconv.Atoi(kubectl(t, "", "get", "deployment", "worker-deploy", "-o", "jsonpath={.spec.replicas}"))
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, n)
		return n
	}
	for round := 1; round <= 2; round++ {
		waitFor(t, "no workers", func() bool { return replicas() == 0 })
		order(t, "/start?rate=100")
		waitFor(t, "several workers", func() bool { return replicas() > 1 })
		order(t, "/stop")
		waitFor(t, "the rest to be handled", func() bool { replicas(); return reported(t).Lost == 0 })
		r := reported(t)
		t.Logf("round %d: from 0 workers to %d; 2xx %d, handled %d, delivered %d, lost %d, duplicates %d", round, most, r.Accepted, r.Handled, r.Delivered, r.Lost, r.Duplicates)
		if r.Duplicates != 0 || r.Accepted != r.Sent {
			t.Errorf("got %+v", r)
		}
	}
	waitFor(t, "no workers", func() bool { return replicas() == 0 })
}
