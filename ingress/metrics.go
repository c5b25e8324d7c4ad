package ingress

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what operators see of the ingress. Its labels come from the
// configuration and from closed sets, never from a sender.
type metrics struct {
	requests *prometheus.CounterVec
	refused  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	answers  *prometheus.CounterVec
	inFlight prometheus.GaugeFunc
	bytes    prometheus.GaugeFunc
	conns    prometheus.GaugeFunc
}

func newMetrics(r *room) *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "belay_ingress_requests_total",
			Help: "Requests by source (empty: none matched) and by what came of them.",
		}, []string{"source", "outcome"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "belay_ingress_refused_total",
			Help: "Requests that did not verify, by source, by the check that failed, and by what most likely made it fail.",
		}, []string{"source", "reason", "cause"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "belay_ingress_request_duration_seconds",
			Help:    "Time from the headers of a request to its answer, by source.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"source"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "belay_ingress_answers_total",
			Help: "Webhooks whose source waits for a chain's answer, by source and by what the sender got: " +
				"response (the chain's), or why it was the receiver's plain answer.",
		}, []string{"source", "answer"}),
		inFlight: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "belay_ingress_requests_in_flight",
			Help: "Requests in hand.",
		}, func() float64 { return float64(r.requests.Load()) }),
		bytes: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "belay_ingress_bytes_in_flight",
			Help: "What the requests in hand take of the bytes that they may.",
		}, func() float64 { return float64(r.bytes.Load()) }),
		conns: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "belay_ingress_connections",
			Help: "Open connections, idle ones too.",
		}, func() float64 { return float64(r.connections.Load()) }),
	}
}

func (m *metrics) register(registry prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.requests, m.refused, m.duration, m.answers, m.inFlight, m.bytes, m.conns} {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("ingress: register the metrics: %w", err)
		}
	}
	return nil
}

// sourceMetrics are the series of a source that each webhook needs, looked up once.
type sourceMetrics struct {
	stored   prometheus.Counter
	duration prometheus.Observer
}

func (m *metrics) of(source string) sourceMetrics {
	return sourceMetrics{
		stored:   m.requests.WithLabelValues(source, string(stored)),
		duration: m.duration.WithLabelValues(source),
	}
}

func (m *metrics) observe(x *exchange, o outcome) {
	took := time.Since(x.start).Seconds()
	if x.source == nil {
		m.requests.WithLabelValues("", string(o)).Inc()
		m.duration.WithLabelValues("").Observe(took)
		return
	}
	if o == stored {
		x.source.metrics.stored.Inc()
	} else {
		m.requests.WithLabelValues(x.source.Name(), string(o)).Inc()
	}
	if x.waited != "" {
		m.answers.WithLabelValues(x.source.Name(), string(x.waited)).Inc()
	}
	x.source.metrics.duration.Observe(took)
}
