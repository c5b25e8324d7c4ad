package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// built is the belay command: it measures processes of its own program.
func built(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "belay")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// runBench measures one round, and reads the result.
func runBench(t *testing.T, program string, result any, args ...string) []byte {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), program, append(append([]string{"bench"}, args...), "--json", "--rounds", "1")...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	if err := json.Unmarshal(out, result); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBenchIngress(t *testing.T) {
	program, data := built(t), t.TempDir()
	for _, test := range []struct {
		name string
		args []string
		rows []string
	}{
		{"embedded", nil, []string{"http", "hmac", "publish relaxed", "belay relaxed", "publish barrier", "belay barrier", "publish always", "belay always"}},
		{"separate", []string{"--broker", "separate", "--durability", "relaxed", "--rate", "50"}, []string{"http", "hmac", "publish relaxed", "belay relaxed"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var result struct{ Variants []totals }
			out := runBench(t, program, &result, append([]string{
				"ingress", "--warmup", "50ms", "--duration", "300ms", "--connections", "8", "--data-dir", data,
			}, test.args...)...)
			if len(result.Variants) != len(test.rows) {
				t.Fatalf("got %s", out)
			}
			for i, v := range result.Variants {
				if v.Variant.String() != test.rows[i] || v.Accepted == 0 || v.Refused > 0 || v.CPU == 0 ||
					v.Variant.Durability != "" && (v.Stored == 0 || v.Missing > 0 || v.Twice > 0) ||
					(v.Flushes > 0) != (v.Variant.Durability == barrier || v.Variant.Durability == always) {
					t.Errorf("want %s, got %+v", test.rows[i], v)
				}
			}
		})
	}
	if left, err := os.ReadDir(data); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestBenchIngressRefusesNonsense(t *testing.T) {
	for _, args := range [][]string{
		{"--connections", "0"}, {"--rounds", "0"}, {"--duration", "1h"}, {"--rate", "-1"}, {"--duplicates", "many"},
		{"--duplicates", "95%"}, {"--durability", "hope"}, {"--durability", "barrier", "--broker", "separate"},
	} {
		if _, _, err := belay(t, append([]string{"bench", "ingress"}, args...)...); err == nil {
			t.Errorf("%v is no error", args)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 5}, 5}} {
		if got := median(test.values); got != test.want {
			t.Errorf("the median of %v is %g, want %g", test.values, got, test.want)
		}
	}
}

func TestBenchWork(t *testing.T) {
	program, data := built(t), t.TempDir()
	for _, test := range []struct {
		name  string
		args  []string
		waits bool
	}{
		{"a backlog of events", []string{"worker", "--backlog", "20000", "--takes", "5ms"}, false},
		{"events at a rate", []string{"worker", "--rate", "200"}, true},
		{"a backlog of notifications", []string{"outbox", "--backlog", "20000"}, false},
		{"notifications at a rate", []string{"outbox", "--rate", "100"}, true},
		{"the whole way", []string{"pipeline", "--connections", "8"}, false},
		{"the whole way at a rate", []string{"pipeline", "--rate", "100"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var result struct {
				Rounds   []workRound
				Programs []workTotal
			}
			out := runBench(t, program, &result, append(test.args, "--warmup", "100ms", "--duration", "500ms", "--size", "100", "--data-dir", data)...)
			if len(result.Rounds) != 2 || len(result.Programs) != 2 {
				t.Fatalf("got %s", out)
			}
			for _, p := range result.Programs {
				if p.Rate == 0 || p.CPU == 0 || p.BrokerCPU == 0 || p.RateRatio == 0 || (p.P99 > 0) != test.waits {
					t.Errorf("got %+v", p)
				}
			}
		})
	}
	if left, err := os.ReadDir(data); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestBenchWorkerRefusesNonsense(t *testing.T) {
	for _, args := range [][]string{
		{"--backlog", "0"}, {"--rounds", "0"}, {"--duration", "1h"}, {"--rate", "-1"}, {"--size", "0"}, {"--takes", "1m"}, {"--concurrency", "0"},
	} {
		if _, _, err := belay(t, append([]string{"bench", "worker"}, args...)...); err == nil {
			t.Errorf("%v is no error", args)
		}
	}
}
