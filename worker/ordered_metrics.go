package worker

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// orderedMetrics are those of the shards of ordered chains that this process owns.
type orderedMetrics struct {
	owned, behind, bytes, blocked, paused *prometheus.GaugeVec
}

func newOrderedMetrics(f promauto.Factory) *orderedMetrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: "belay_worker_ordered_" + name, Help: help}, []string{"chain", "shard"})
	}
	return &orderedMetrics{
		owned:   gauge("owned", "1 for a shard of an ordered chain that this worker owns."),
		behind:  gauge("waiting_events", "Events that wait behind another one of their key."),
		bytes:   gauge("waiting_bytes", "Bytes of the events that wait, as they are stored."),
		blocked: gauge("blocked_keys", "Keys whose first event has failed and is tried again later."),
		paused:  gauge("paused", "1 for a shard that takes no more events because too many wait."),
	}
}

func (m *orderedMetrics) own(chain string, shard int, owned bool) {
	m.owned.WithLabelValues(chain, strconv.Itoa(shard)).Set(number(owned))
}

func (m *orderedMetrics) waiting(chain string, shard int, l *lines, paused bool) {
	s := strconv.Itoa(shard)
	m.behind.WithLabelValues(chain, s).Set(float64(l.waiting))
	m.bytes.WithLabelValues(chain, s).Set(float64(l.bytes))
	m.blocked.WithLabelValues(chain, s).Set(float64(len(l.blocked)))
	m.paused.WithLabelValues(chain, s).Set(number(paused))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
