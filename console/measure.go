package console

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/belay-hooks/belay/internal/standing"
)

// measureEvery is how often the console asks the broker what the chains have to do.
const measureEvery = 10 * time.Second

// chainMetrics are what all chains have to do, told in one place: the workers would
// each tell it again.
type chainMetrics struct {
	backlog, held, lag         *prometheus.GaugeVec
	parked, paused, unattended *prometheus.GaugeVec
	off                        *prometheus.GaugeVec
	bytes, limit               *prometheus.GaugeVec
	replicas, missing          *prometheus.GaugeVec
	measured                   prometheus.Gauge
}

func newChainMetrics(r prometheus.Registerer) *chainMetrics {
	f := promauto.With(r)
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	return &chainMetrics{
		backlog:    gauge("belay_chain_backlog_events", "Events that a chain has not been handed yet, by shard.", "chain", "shard"),
		held:       gauge("belay_chain_held_events", "Events that are with the workers of a chain, or come again in a few seconds, by shard.", "chain", "shard"),
		lag:        gauge("belay_chain_lag_seconds", "Age of the first event that a chain has not settled, by shard; 0: there is none.", "chain", "shard"),
		parked:     gauge("belay_chain_parked_events", "Events of a chain that wait in the log for their next attempt.", "chain"),
		paused:     gauge("belay_chain_paused", "1 for a chain that is paused.", "chain"),
		unattended: gauge("belay_chain_unattended", "1 for a chain that no worker runs: it was removed, or its workers are down.", "chain"),
		off:        gauge("belay_source_switched_off", "1 for a source whose webhooks are answered 410.", "source"),
		bytes:      gauge("belay_stream_bytes", "What a stream holds.", "stream"),
		limit:      gauge("belay_stream_limit_bytes", "What a stream may hold; 0: what the disk does.", "stream"),
		replicas:   gauge("belay_stream_replicas", "Servers that are to hold a stream.", "stream"),
		missing:    gauge("belay_stream_replicas_missing", "Servers that are to hold a stream and are away or behind.", "stream"),
		measured:   f.NewGauge(prometheus.GaugeOpts{Name: "belay_chain_measured_timestamp_seconds", Help: "When the console has asked the broker for these numbers last."}),
	}
}

// measureAll keeps the metrics up to date until ctx ends.
func (s *Server) measureAll(ctx context.Context) {
	ticker := time.NewTicker(measureEvery)
	defer ticker.Stop()
	for {
		if err := s.measureChains(ctx); err != nil && ctx.Err() == nil {
			s.log.Debug("the chains are not measured, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *Server) measureChains(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, measureEvery)
	defer cancel()
	backlogs, err := s.broker.Backlogs(ctx)
	if err != nil {
		return err
	}
	for _, l := range backlogs {
		if err := s.broker.Measure(ctx, l); err != nil {
			return err
		}
	}
	paused, err := standing.Paused.All(ctx, s.broker)
	if err != nil {
		return err
	}
	off, err := standing.Off.All(ctx, s.broker)
	if err != nil {
		return err
	}
	volumes, err := s.broker.Volumes(ctx)
	if err != nil {
		return err
	}
	m := s.metrics
	for _, v := range volumes {
		m.bytes.WithLabelValues(v.Stream).Set(float64(v.Bytes))
		m.limit.WithLabelValues(v.Stream).Set(float64(v.Limit))
		m.replicas.WithLabelValues(v.Stream).Set(float64(v.Replicas))
		m.missing.WithLabelValues(v.Stream).Set(float64(v.Replicas - v.Current))
	}
	for _, v := range []*prometheus.GaugeVec{m.backlog, m.held, m.lag, m.parked, m.paused, m.unattended, m.off} {
		v.Reset() // of chains that are gone nothing stays
	}
	for _, l := range backlogs {
		for _, at := range l.Shards {
			shard := strconv.Itoa(at.Shard)
			m.backlog.WithLabelValues(l.Chain, shard).Set(float64(at.Pending))
			m.held.WithLabelValues(l.Chain, shard).Set(float64(at.InHand))
			lag := 0.0
			if !at.Oldest.IsZero() {
				lag = time.Since(at.Oldest).Seconds()
			}
			m.lag.WithLabelValues(l.Chain, shard).Set(lag)
		}
		_, isPaused := paused[l.Chain]
		m.parked.WithLabelValues(l.Chain).Set(float64(l.Parked))
		m.paused.WithLabelValues(l.Chain).Set(asNumber(isPaused))
		m.unattended.WithLabelValues(l.Chain).Set(asNumber(!l.Attended))
	}
	for source := range off {
		m.off.WithLabelValues(source).Set(1)
	}
	m.measured.SetToCurrentTime()
	return nil
}

func asNumber(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
