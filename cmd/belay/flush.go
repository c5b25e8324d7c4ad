package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// timedFlush is flush, with what operators see of it: how often the disk is flushed,
// and how long that takes. Each answer to a webhook waits for one.
func timedFlush(flush func() error, registry prometheus.Registerer) func() error {
	duration := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "belay_store_flush_duration_seconds",
		Help:    "Time of a flush of the data directory, which the writes of a moment share.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	})
	registry.MustRegister(duration)
	return func() error {
		began := time.Now()
		defer func() { duration.Observe(time.Since(began).Seconds()) }()
		return flush()
	}
}
