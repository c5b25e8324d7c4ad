//go:build k8s

package k8s

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The API server takes everything of production, strictly, with its admission: the pods
// meet the restricted standard, and custom resources their definitions.
func TestServerAdmitsProduction(t *testing.T) {
	kubectl(t, "", "delete", "namespace", namespace, "--ignore-not-found", "--timeout", patience.String())
	kubectl(t, "", "create", "namespace", namespace)
	t.Cleanup(func() { kubectl(t, "", "delete", "namespace", namespace, "--timeout", patience.String()) })
	kubectl(t, "", "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/warn=restricted")
	for _, file := range definitions(t) {
		kubectl(t, "", "apply", "--server-side", "--force-conflicts", "-f", file)
	}
	kubectl(t, "", "wait", "--for=condition=established", "crd", "--all", "--timeout", patience.String())
	overlay := t.TempDir()
	absolute, err := filepath.Abs(manifests)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(overlay, os.DirFS(absolute)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(overlay, "overlays/production")
	appendNamespace(t, filepath.Join(dir, "kustomization.yaml"))
	for _, o := range render(t, dir) {
		if o.kind() == "Namespace" {
			continue
		}
		admit(t, o.name(), string(o.text))
		if pod := o.pod(); pod != nil {
			// A workload is only warned of; its pod is refused.
			text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "a"}, "spec": alone(pod)})
			if err != nil {
				t.Fatal(err)
			}
			admit(t, "the pod of "+o.name(), string(text))
		}
	}
}

// alone is the spec of a pod that nothing else has to be there for.
func alone(pod map[string]any) map[string]any {
	alone := maps.Clone(pod)
	alone["serviceAccountName"] = "default"
	volumes, _ := pod["volumes"].([]any)
	alone["volumes"] = append(slices.Clone(volumes), map[string]any{"name": "data", "emptyDir": map[string]any{}})
	if _, ok := alone["restartPolicy"]; !ok {
		alone["restartPolicy"] = "Always"
	}
	return alone
}

func admit(t *testing.T, what, text string) {
	t.Helper()
	if out, err := try(text, "apply", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
		t.Errorf("%s: %s", what, out)
	}
}

func appendNamespace(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte("namespace: belay\n"), []byte("namespace: "+namespace+"\n"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

// definitions are the files of the CustomResourceDefinitions, as mkschema names them.
func definitions(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "run", "./mkschema", "--definitions").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}
