package outbox

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the outbox counts. Labels come from closed sets only.
type metrics struct {
	notifications *prometheus.CounterVec
	deliveries    prometheus.Counter
	attempts      *prometheus.CounterVec
	seconds       *prometheus.HistogramVec
	parked        *prometheus.CounterVec
}

// newMetrics registers the metrics; size tells the number of subscriptions, counts
// how many attempts run and how many breakers are open.
func newMetrics(reg prometheus.Registerer, size func() int, counts func() (running, open int)) (*metrics, error) {
	m := &metrics{
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "belay_outbox_notifications_total",
			Help: "Notifications that the API answered 202, by whether they were known before.",
		}, []string{"duplicate"}),
		deliveries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "belay_outbox_deliveries_total",
			Help: "Deliveries that notifications were fanned out to.",
		}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "belay_outbox_attempts_total",
			Help: "Attempts of deliveries, by what became of the delivery and why.",
		}, []string{"verdict", "reason"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "belay_outbox_attempt_seconds",
			Help:    "How long attempts took, from the connection to the end of the answer.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"verdict"}),
		parked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "belay_outbox_parked_total",
			Help: "Deliveries that were parked before an attempt, by what they wait for.",
		}, []string{"cause"}),
	}
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "belay_outbox_subscriptions",
		Help: "Subscriptions in the memory of this process.",
	}, func() float64 { return float64(size()) })
	running := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "belay_outbox_attempts_running",
		Help: "Attempts that run in this process.",
	}, func() float64 { running, _ := counts(); return float64(running) })
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "belay_outbox_breakers_open",
		Help: "Subscriptions that are only probed by this process, because their endpoints do not serve.",
	}, func() float64 { _, open := counts(); return float64(open) })
	for _, c := range []prometheus.Collector{m.notifications, m.deliveries, m.attempts, m.seconds, m.parked, gauge, running, open} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) attempted(v verdict, took time.Duration) {
	m.attempts.WithLabelValues(string(v.decision), string(v.reason)).Inc()
	m.seconds.WithLabelValues(string(v.decision)).Observe(took.Seconds())
}
