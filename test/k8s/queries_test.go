package k8s

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

var metricName = regexp.MustCompile(`belay_[a-z_]+`)

// Alerts and the dashboard can be read by Prometheus, and ask for metrics that there are.
func TestQueries(t *testing.T) {
	known := registered(t)
	ask := func(where, query string) {
		if _, err := parser.ParseExpr(query); err != nil {
			t.Errorf("%s: %v\n%s", where, err, query)
		}
		for _, name := range metricName.FindAllString(query, -1) {
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				name = strings.TrimSuffix(name, suffix)
			}
			if !known[name] {
				t.Errorf("%s asks for %s, which no program tells", where, name)
			}
		}
	}
	alerts, panels := 0, 0
	for _, o := range render(t, filepath.Join(manifests, "overlays/production")) {
		switch o.name() {
		case "PrometheusRule/belay":
			var spec struct {
				Groups []struct {
					Rules []struct{ Alert, Expr string }
				}
			}
			decode(t, o.at("spec"), &spec)
			for _, rule := range spec.Groups[0].Rules {
				alerts++
				ask(rule.Alert, rule.Expr)
			}
		case "ConfigMap/dashboard":
			var board struct {
				Panels []struct {
					Title   string
					Targets []struct{ Expr string }
				}
			}
			if err := json.Unmarshal([]byte(o.at("data", "belay.json").(string)), &board); err != nil {
				t.Fatal(err)
			}
			for _, panel := range board.Panels {
				for _, target := range panel.Targets {
					panels++
					ask(panel.Title, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"))
				}
			}
		}
	}
	if alerts != 10 || panels < 10 {
		t.Errorf("%d alerts and %d queries, want 10 and at least 10", alerts, panels)
	}
	operating, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range render(t, filepath.Join(manifests, "overlays/production")) {
		if o.name() == "PrometheusRule/belay" {
			for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllSubmatch(o.text, -1) {
				if !bytes.Contains(operating, alert[1]) {
					t.Errorf("docs/operating.md does not say what to do for %s", alert[1])
				}
			}
		}
	}
}

// registered are the metrics that the programs register, as their code has it.
func registered(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for _, dir := range []string{"ingress", "worker", "outbox", "console"} {
		files, err := filepath.Glob("../../" + dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, quoted := range regexp.MustCompile(`"(belay_[a-z_]+)"`).FindAllSubmatch(text, -1) {
				known[string(quoted[1])] = true
			}
		}
	}
	if len(known) == 0 {
		t.Fatal("no metrics found: where are they registered now?")
	}
	return known
}
