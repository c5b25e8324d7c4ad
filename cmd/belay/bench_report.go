package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A machine is where it was measured.
type machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}

func thisMachine() machine {
	return machine{runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()}
}

func (m machine) String() string {
	return fmt.Sprintf("%s/%s, %d CPUs, %s", m.OS, m.Arch, m.CPUs, m.Go)
}

// totals is what the rounds of a program come to. The ratios are medians of the
// ratios within a round, so that a machine that is busy for a while spoils less.
type totals struct {
	Variant variant       `json:"variant"`
	Rate    float64       `json:"accepted_per_second"`
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
	P999    time.Duration `json:"p999"`
	CPU     time.Duration `json:"cpu_per_webhook"`
	Floor   time.Duration `json:"cpu_floor_per_webhook"` // of the quietest round
	Broker  time.Duration `json:"broker_cpu_per_webhook,omitempty"`
	Flushes float64       `json:"flushes_per_webhook"`
	RSS     int64         `json:"rss"` // the greatest

	// Beside the bare publishing program of the same durability; 0 without one.
	RateRatio  float64 `json:"accepted_ratio,omitempty"`
	P50Ratio   float64 `json:"p50_ratio,omitempty"`
	P99Ratio   float64 `json:"p99_ratio,omitempty"`
	CPURatio   float64 `json:"cpu_ratio,omitempty"`
	FloorRatio float64 `json:"cpu_floor_ratio,omitempty"`
	// RelaxedRatio is beside the same program with relaxed durability.
	RelaxedRatio float64 `json:"accepted_ratio_to_relaxed,omitempty"`

	Accepted   uint64 `json:"accepted"` // of all rounds
	Refused    uint64 `json:"refused"`  // with another answer than 2xx, or without one
	Stored     uint64 `json:"stored"`
	Missing    uint64 `json:"missing"`
	Twice      uint64 `json:"stored_twice"`
	Unanswered uint64 `json:"stored_unanswered"`
}

func sumUp(rounds []round, variants []variant) []totals {
	all := make([]totals, len(variants))
	for i, v := range variants {
		mine := of(rounds, v)
		all[i] = sum(v, mine)
		bare := of(rounds, variant{programPublish, cmp.Or(v.Durability, relaxed)})
		all[i].RateRatio = ratio(mine, bare, func(r *round) float64 { return r.Rate })
		all[i].P50Ratio = ratio(mine, bare, func(r *round) float64 { return float64(r.P50) })
		all[i].P99Ratio = ratio(mine, bare, func(r *round) float64 { return float64(r.P99) })
		all[i].CPURatio = ratio(mine, bare, func(r *round) float64 { return float64(r.CPU) })
		if len(bare) > 0 {
			floor := sum(v, bare).Floor
			all[i].FloorRatio = float64(all[i].Floor) / float64(max(floor, 1))
		}
		if v.Durability != "" {
			all[i].RelaxedRatio = ratio(mine, of(rounds, variant{v.Program, relaxed}), func(r *round) float64 { return r.Rate })
		}
	}
	return all
}

// of is the rounds of a variant, by number.
func of(rounds []round, v variant) []round {
	return where(rounds, func(r *round) bool { return r.Variant == v })
}

func where[R any](rounds []R, wanted func(*R) bool) (some []R) {
	for i := range rounds {
		if wanted(&rounds[i]) {
			some = append(some, rounds[i])
		}
	}
	return some
}

// ratio is the median of the ratios of rounds with the same number.
func ratio[R any](mine, base []R, of func(*R) float64) float64 {
	if len(base) != len(mine) {
		return 0
	}
	var all []float64
	for i := range mine {
		if b := of(&base[i]); b > 0 {
			all = append(all, of(&mine[i])/b)
		}
	}
	return median(all)
}

func sum(v variant, rounds []round) totals {
	t := totals{Variant: v}
	for i := range rounds {
		r := &rounds[i]
		t.Accepted += r.Accepted
		t.Refused += r.Sent - r.Accepted
		t.RSS = max(t.RSS, r.RSS)
		if i == 0 || r.CPU < t.Floor {
			t.Floor = r.CPU
		}
		if r.Count != nil {
			t.Stored += r.Count.Stored
			t.Missing += r.Count.Missing
			t.Twice += r.Count.Twice
			t.Unanswered += r.Count.Unanswered
		}
	}
	duration := func(of func(*round) time.Duration) time.Duration {
		return time.Duration(medianOf(rounds, func(r *round) float64 { return float64(of(r)) }))
	}
	t.Rate = medianOf(rounds, func(r *round) float64 { return r.Rate })
	t.Flushes = medianOf(rounds, func(r *round) float64 { return r.Flushes })
	t.P50 = duration(func(r *round) time.Duration { return r.P50 })
	t.P99 = duration(func(r *round) time.Duration { return r.P99 })
	t.P999 = duration(func(r *round) time.Duration { return r.P999 })
	t.CPU = duration(func(r *round) time.Duration { return r.CPU })
	t.Broker = duration(func(r *round) time.Duration { return r.BrokerCPU })
	return t
}

func medianOf[R any](rounds []R, of func(*R) float64) float64 {
	all := make([]float64, len(rounds))
	for i := range rounds {
		all[i] = of(&rounds[i])
	}
	return median(all)
}

// median is the middle of the values; 0 without any.
func median(all []float64) float64 {
	slices.Sort(all)
	switch n := len(all); {
	case n == 0:
		return 0
	case n%2 == 1:
		return all[n/2]
	default:
		return (all[n/2-1] + all[n/2]) / 2
	}
}

func printTable(out io.Writer, all []totals) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\taccepted/s\t× bare\t× relaxed\tp50 ms\t× bare\tp99 ms\t× bare\tp99.9 ms\tCPU µs\tfloor µs\t× bare\tbroker µs\tflushes\tRSS MB\t")
	for _, t := range all {
		fmt.Fprintf(w, "%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.3f\t%d\t\n",
			t.Variant, t.Rate, times(t.RateRatio), times(t.RelaxedRatio), millis(t.P50), times(t.P50Ratio), millis(t.P99), times(t.P99Ratio),
			millis(t.P999), micros(t.CPU), micros(t.Floor), times(t.FloorRatio), micros(t.Broker), t.Flushes, t.RSS>>20)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, t := range all {
		if t.Variant.Durability == "" {
			continue
		}
		fmt.Fprintf(out, "%s: %d answered 2xx while measured, %d not; %d stored in all, %d missing, %d stored twice, %d stored and not answered\n",
			t.Variant, t.Accepted, t.Refused, t.Stored, t.Missing, t.Twice, t.Unanswered)
	}
	_, err := fmt.Fprint(out, `
Medians of the rounds; ratios are medians of the ratios within a round. "bare" is
publish with the same durability, "floor" the lowest of all rounds. CPU and flushes
are for each accepted webhook.
`)
	return err
}

func times(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", v)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/1e6) }

func micros(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(d)/1e3)
}

// printBenchstat prints a line a round as go test -bench does
// (https://pkg.go.dev/golang.org/x/perf/benchfmt).
func printBenchstat(out io.Writer, rounds []round) error {
	m := thisMachine()
	fmt.Fprintf(out, "goos: %s\ngoarch: %s\n", m.OS, m.Arch)
	for i := range rounds {
		r := &rounds[i]
		name := strings.ReplaceAll(r.Variant.String(), " ", "/durability=")
		if _, err := fmt.Fprintf(out, "BenchmarkIngress/program=%s %d %.0f ns/op %.0f accepted/s %d p50-ns %d p99-ns %d cpu-ns/op %.4f flushes/op\n",
			name, r.Accepted, 1e9/r.Rate, r.Rate, r.P50, r.P99, r.CPU, r.Flushes); err != nil {
			return err
		}
	}
	return nil
}
