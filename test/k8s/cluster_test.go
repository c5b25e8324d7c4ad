//go:build k8s || keda

package k8s

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// namespace is the test's own. What is in it is removed, before and after.
const namespace = "belay-test"

const (
	webhooksASecond = "25"
	// patience is how long anything may take.
	patience = 6 * time.Minute
)

// kubectl runs it against the cluster of KUBECONFIG, and fails the test where it fails.
func kubectl(t *testing.T, input string, args ...string) string {
	t.Helper()
	out, err := try(input, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func try(input string, args ...string) (string, error) {
	run := exec.Command("kubectl", append([]string{"--namespace", namespace}, args...)...)
	run.Stdin = strings.NewReader(input)
	var out, warnings bytes.Buffer
	run.Stdout, run.Stderr = &out, &warnings
	if err := run.Run(); err != nil {
		return out.String() + warnings.String(), err
	}
	return out.String(), nil
}

// waitFor waits for a fact.
func waitFor(t *testing.T, what string, fact func() bool) {
	t.Helper()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !fact() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited %v in vain for %s\n%s", patience, what, kubectl(t, "", "get", "pods", "-o", "wide"))
		}
	}
}

// deploy makes the namespace, the Secrets, applies the overlay, and waits for the
// programs that are to be ready.
func deploy(t *testing.T, overlay string, ready ...string) {
	t.Helper()
	remove := func() {
		kubectl(t, "", "delete", "namespace", namespace, "--ignore-not-found", "--timeout", patience.String())
	}
	remove()
	kubectl(t, "", "create", "namespace", namespace)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(kubectl(t, "", "get", "pods,jobs", "-o", "wide"))
			logs, _ := try("", "logs", "-l", "app.kubernetes.io/part-of=belay", "--tail=20", "--prefix", "--max-log-requests=50")
			t.Log(logs)
		}
		remove()
	})
	secrets := exec.Command("go", "run", "./cmd/belay", "new", "secrets", "--namespace", namespace)
	secrets.Dir = "../.."
	text, err := secrets.Output()
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, string(text), "create", "-f", "-")
	kubectl(t, "", "create", "secret", "generic", "sources", "--from-literal=github=a-secret-of-the-cluster-test")
	key := kubectl(t, "", "get", "secret", "outbox", "-o", `go-template={{index .data "api-keys" | base64decode}}`)
	kubectl(t, "", "create", "secret", "generic", "traffic", "--from-literal=api-key="+strings.TrimSpace(key))
	kubectl(t, "", "apply", "-k", overlay)
	for _, name := range []string{"statefulset/nats", "deployment/traffic"} {
		kubectl(t, "", "rollout", "status", name, "--timeout", patience.String())
	}
	kubectl(t, "", "wait", "--for=condition=complete", "job/migrate", "--timeout", patience.String())
	for _, name := range ready {
		kubectl(t, "", "rollout", "status", "deployment/"+name, "--timeout", patience.String())
	}
}

var programs = []string{"ingress", "worker", "outbox", "console"}

// proxy calls the traffic by the API server.
func proxy(t *testing.T, path string) string {
	t.Helper()
	return kubectl(t, "", "get", "--raw", "/api/v1/namespaces/"+namespace+"/services/traffic:http/proxy"+path)
}

// order is proxy for what changes something.
func order(t *testing.T, path string) {
	t.Helper()
	kubectl(t, "{}", "create", "--raw", "/api/v1/namespaces/"+namespace+"/services/traffic:http/proxy"+path, "-f", "-")
}

// report is the Report of test/k8s/traffic.
type report struct {
	Subscribed                                     bool
	Sent, Requests                                 int
	Answers                                        map[int]int
	Accepted, Handled, Delivered                   int
	Lost, Duplicates, HandledAgain, DeliveredAgain int
	Unknown, Refused                               int
	Longest                                        float64
}

func reported(t *testing.T) (r report) {
	t.Helper()
	if err := json.Unmarshal([]byte(proxy(t, "/report")), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// passes waits until some more webhooks have been delivered: what was done to the
// cluster is over.
func passes(t *testing.T) {
	t.Helper()
	const some = 50
	before := reported(t).Delivered
	waitFor(t, "webhooks to be delivered", func() bool { return reported(t).Delivered > before+some })
}

// kill ends the program of a pod with SIGKILL. It is started again in the same pod.
func kill(t *testing.T, pod string) {
	t.Helper()
	kubectl(t, "", "exec", pod, "--container=killer", "--", "/program", "kill")
}

func ready(t *testing.T, pod string) bool {
	t.Helper()
	return kubectl(t, "", "get", "pod", pod, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`) == "True"
}

func pods(t *testing.T, program string) []string {
	t.Helper()
	return strings.Fields(kubectl(t, "", "get", "pods", "-l", "app.kubernetes.io/name="+program, "-o", "jsonpath={.items[*].metadata.name}"))
}

func TestCluster(t *testing.T) {
	deploy(t, "overlay", programs...)
	t.Run("network policies hold", networkPoliciesHold)
	t.Run("nothing accepted is lost", nothingAcceptedIsLost)
}

// The guarantee, on a cluster: every webhook that was answered 2xx is handled and
// delivered, whatever is rolled out and whoever is killed meanwhile.
func nothingAcceptedIsLost(t *testing.T) {
	waitFor(t, "the subscription", func() bool { return reported(t).Subscribed })
	killed, deleted, rolled := 0, 0, 0
	say := func(format string, args ...any) {
		r := reported(t)
		t.Logf("%-42s sent %5d, 2xx %5d, handled %5d, delivered %5d", fmt.Sprintf(format, args...), r.Sent, r.Accepted, r.Handled, r.Delivered)
	}
	say("ready")
	order(t, "/start?rate="+webhooksASecond)
	passes(t)
	for _, name := range programs {
		kubectl(t, "", "rollout", "restart", "deployment/"+name)
		kubectl(t, "", "rollout", "status", "deployment/"+name, "--timeout", patience.String())
		rolled++
		passes(t)
		say("%s rolled out anew", name)
	}
	for _, name := range programs[:3] {
		for _, pod := range pods(t, name) {
			kubectl(t, "", "delete", "pod", pod, "--grace-period=0", "--force")
			deleted++
			passes(t)
		}
		kubectl(t, "", "rollout", "status", "deployment/"+name, "--timeout", patience.String())
		say("every pod of %s deleted, grace 0", name)
		for _, pod := range pods(t, name) {
			kill(t, pod)
			killed++
			passes(t)
		}
		kubectl(t, "", "rollout", "status", "deployment/"+name, "--timeout", patience.String())
		say("every process of %s killed", name)
	}
	for _, pod := range pods(t, "nats") {
		kubectl(t, "", "delete", "pod", pod, "--grace-period=0", "--force")
		deleted++
		kubectl(t, "", "rollout", "status", "statefulset/nats", "--timeout", patience.String())
		passes(t)
		kill(t, pod)
		killed++
		waitFor(t, pod+" to be away", func() bool { return !ready(t, pod) })
		kubectl(t, "", "rollout", "status", "statefulset/nats", "--timeout", patience.String())
		passes(t)
		say("%s deleted and killed", pod)
	}
	kubectl(t, "", "rollout", "restart", "statefulset/nats")
	kubectl(t, "", "rollout", "status", "statefulset/nats", "--timeout", patience.String())
	rolled++
	passes(t)
	say("nats rolled out anew")
	order(t, "/stop")
	waitFor(t, "the rest to be delivered", func() bool { r := reported(t); return r.Lost == 0 })
	r := reported(t)
	t.Logf("webhooks sent %d in %d requests, answers %v", r.Sent, r.Requests, r.Answers)
	t.Logf("2xx %d, handled %d, delivered %d; pods deleted with grace 0 %d, processes killed %d, workloads rolled out anew %d; the longest wait for a 2xx %.1f s",
		r.Accepted, r.Handled, r.Delivered, deleted, killed, rolled, r.Longest)
	t.Logf("lost %d, duplicates handled %d; repeated under the same key after a kill: handled %d, delivered %d", r.Lost, r.Duplicates, r.HandledAgain, r.DeliveredAgain)
	if r.Lost != 0 || r.Duplicates != 0 || r.Accepted != r.Sent || r.Unknown != 0 || r.Refused != 0 {
		t.Errorf("got %+v", r)
	}
	for status := range r.Answers {
		if !slices.Contains([]int{0, 202, 503}, status) {
			t.Errorf("a webhook was answered %d", status)
		}
	}
}

// What the manifests say of NetworkPolicies holds where something enforces them.
func networkPoliciesHold(t *testing.T) {
	for _, test := range []struct {
		addr string
		open bool
	}{
		{"ingress:80", true}, {"outbox:80", true}, {"console:80", false}, {"nats:4222", false}, {"nats:8222", false}, {"kubernetes.default:443", false},
	} {
		_, err := try("", "get", "--raw", "/api/v1/namespaces/"+namespace+"/services/traffic:http/proxy/reach?addr="+test.addr)
		if open := err == nil; open != test.open {
			t.Errorf("a pod that is no program reaches %s: %t, want %t; does anything enforce NetworkPolicies here?", test.addr, open, test.open)
		}
	}
}
