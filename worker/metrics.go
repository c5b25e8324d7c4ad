package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/belay-hooks/belay/pkg/handler"
)

type metrics struct {
	events   *prometheus.CounterVec
	dead     *prometheus.CounterVec
	handlers *prometheus.HistogramVec
	paused   *prometheus.GaugeVec
	ordered  *orderedMetrics
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "belay_worker_events_total",
			Help: "Events that a chain has settled, by outcome: done, responded, filtered, passed, again, dead, interrupted.",
		}, []string{"chain", "outcome"}),
		dead: f.NewCounterVec(prometheus.CounterOpts{
			Name: "belay_worker_dead_letters_total",
			Help: "Events that a chain has given up, by reason.",
		}, []string{"chain", "reason"}),
		paused: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "belay_worker_chain_paused",
			Help: "1 for a chain that an operator has paused.",
		}, []string{"chain"}),
		ordered: newOrderedMetrics(f),
		handlers: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "belay_worker_handler_seconds",
			Help:    "How long a handler ran, by whether it failed.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10, 30, 120},
		}, []string{"chain", "handler", "failed"}),
	}
}

func (m *metrics) settled(chain string, o outcome) {
	m.events.WithLabelValues(chain, string(o.kind)).Inc()
	if o.kind == dead {
		m.dead.WithLabelValues(chain, string(o.reason)).Inc()
	}
}

// stepTimes are the series of how long a handler ran. They are looked up once, and not
// at each call.
type stepTimes struct{ done, failed prometheus.Observer }

// of returns the series of a chain's handlers by their names.
func (m *metrics) of(chain string, steps []handler.Step) map[string]stepTimes {
	times := make(map[string]stepTimes, len(steps))
	for _, s := range steps {
		times[s.Name] = stepTimes{
			done:   m.handlers.WithLabelValues(chain, s.Name, "false"),
			failed: m.handlers.WithLabelValues(chain, s.Name, "true"),
		}
	}
	return times
}

func (t stepTimes) observe(took time.Duration, err error) {
	if err != nil && !handler.IsStop(err) {
		t.failed.Observe(took.Seconds())
		return
	}
	t.done.Observe(took.Seconds())
}
