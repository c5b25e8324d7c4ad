// Package k8s tests what Belay is deployed with: here as it is written, without a
// cluster, and with the build tag k8s on the cluster of KUBECONFIG.
package k8s

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/yannh/kubeconform/pkg/resource"
	"github.com/yannh/kubeconform/pkg/validator"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const manifests = "../../deploy/k8s"

// overlays are what people apply.
var overlays = []string{"dev", "production", "tilt"}

// render is what kubectl apply -k would apply: a document for each object.
func render(t *testing.T, dir string) []object {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	var all []object
	for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
		o := object{text: document}
		if err := yaml.Unmarshal(document, &o.content); err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

// object is one object of a rendered overlay.
type object struct {
	text    []byte
	content map[string]any
}

func (o object) kind() string { return o.content["kind"].(string) }

func (o object) name() string {
	return o.kind() + "/" + o.content["metadata"].(map[string]any)["name"].(string)
}

// at is what stands at a path, or nil.
func (o object) at(path ...string) any {
	var v any = o.content
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

// pod is the pod that an object makes, or nil.
func (o object) pod() map[string]any {
	pod, _ := o.at("spec", "template", "spec").(map[string]any)
	return pod
}

// decode reads a part of an object into a struct.
func decode(t *testing.T, from, into any) {
	t.Helper()
	text, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// Every object of every overlay is valid by the schema of its kind, strictly: a field
// that nobody knows is a setting that nobody heeds.
func TestManifestsAreValid(t *testing.T) {
	check, err := validator.New([]string{"schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json"}, validator.Opts{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			for _, o := range render(t, filepath.Join(manifests, "overlays", overlay)) {
				result := check.ValidateResource(resource.Resource{Path: o.name(), Bytes: o.text})
				if result.Status != validator.Valid {
					t.Errorf("%s: %v", o.name(), result.Err)
				}
			}
		})
	}
}

// The check refuses what it is there for.
func TestInvalidManifestsAreRefused(t *testing.T) {
	check, err := validator.New([]string{"schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json"}, validator.Opts{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"an unknown field": "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selectors: {a: b}}\n",
		"another type":     "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: two, selector: {}, template: {}}\n",
		"a missing field":  "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\nspec: {triggers: []}\n",
		"an unknown kind":  "apiVersion: v1\nkind: Servic\nmetadata: {name: a}\n",
		"a wrong value":    "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec: {rules: [{timeouts: {request: soon}}]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if result := check.ValidateResource(resource.Resource{Bytes: []byte(text)}); result.Status == validator.Valid {
				t.Error("it is valid")
			}
		})
	}
}

type container struct {
	Name, Image     string
	Resources       struct{ Requests, Limits map[string]any }
	SecurityContext struct {
		ReadOnlyRootFilesystem, AllowPrivilegeEscalation *bool
	}
	LivenessProbe, ReadinessProbe, StartupProbe any
}

// What the schema cannot ask of a pod: it has limits, probes, a grace period, an account
// without a token, and writes nowhere.
func TestPods(t *testing.T) {
	for _, overlay := range []string{"dev", "production"} {
		for _, o := range render(t, filepath.Join(manifests, "overlays", overlay)) {
			var pod struct {
				ServiceAccountName           string
				AutomountServiceAccountToken *bool
				Containers                   []container
			}
			if o.pod() == nil {
				continue
			}
			decode(t, o.pod(), &pod)
			if pod.ServiceAccountName == "" || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
				t.Errorf("%s: %s has no account of its own, or a token", overlay, o.name())
			}
			for _, c := range pod.Containers {
				if !strings.Contains(c.Image, ":") {
					t.Errorf("%s: %s has the image %s, want one with a tag", overlay, o.name(), c.Image)
				}
				if c.Resources.Limits["memory"] == nil || c.Resources.Limits["cpu"] == nil || c.Resources.Requests["cpu"] == nil {
					t.Errorf("%s: %s has no requests or limits", overlay, o.name())
				}
				if ro := c.SecurityContext.ReadOnlyRootFilesystem; ro == nil || !*ro {
					t.Errorf("%s: %s may write to its image", overlay, o.name())
				}
				if o.kind() != "Job" && (c.LivenessProbe == nil || c.ReadinessProbe == nil || c.StartupProbe == nil) {
					t.Errorf("%s: %s lacks a probe", overlay, o.name())
				}
			}
		}
	}
}

// Everything that an object names is there: what it mounts and takes its environment
// from, by the manifests or by belay new secrets.
func TestReferences(t *testing.T) {
	secrets := []string{"sources"} // the user's own
	for _, user := range []string{"ingress", "worker", "outbox", "console", "migrate", "users", "tls"} {
		secrets = append(secrets, "nats-"+user)
	}
	secrets = append(secrets, "outbox", "console")
	for _, overlay := range []string{"dev", "production"} {
		all := render(t, filepath.Join(manifests, "overlays", overlay))
		has := func(kind, name string) bool {
			return slices.ContainsFunc(all, func(o object) bool { return o.name() == kind+"/"+name })
		}
		for _, o := range all {
			var pod struct {
				ServiceAccountName string
				Volumes            []struct {
					ConfigMap *struct{ Name string }
					Secret    *struct{ SecretName string }
				}
				Containers []struct {
					EnvFrom []struct{ ConfigMapRef struct{ Name string } }
				}
			}
			if o.pod() == nil {
				continue
			}
			decode(t, o.pod(), &pod)
			if !has("ServiceAccount", pod.ServiceAccountName) {
				t.Errorf("%s: %s: no ServiceAccount %s", overlay, o.name(), pod.ServiceAccountName)
			}
			for _, v := range pod.Volumes {
				if v.ConfigMap != nil && !has("ConfigMap", v.ConfigMap.Name) {
					t.Errorf("%s: %s: no ConfigMap %s", overlay, o.name(), v.ConfigMap.Name)
				}
				if v.Secret != nil && !slices.Contains(secrets, v.Secret.SecretName) {
					t.Errorf("%s: %s: no Secret %s", overlay, o.name(), v.Secret.SecretName)
				}
			}
			for _, c := range pod.Containers {
				for _, from := range c.EnvFrom {
					if !has("ConfigMap", from.ConfigMapRef.Name) {
						t.Errorf("%s: %s: no ConfigMap %s", overlay, o.name(), from.ConfigMapRef.Name)
					}
				}
			}
		}
	}
}

// Each ScaledObject asks for the consumers of the chains that its workers run.
func TestScaledObjectsFollowTheirChains(t *testing.T) {
	all := render(t, filepath.Join(manifests, "overlays/production"))
	found := 0
	for _, o := range all {
		if o.kind() != "ScaledObject" {
			continue
		}
		found++
		var spec struct {
			ScaleTargetRef struct{ Name string }
			Triggers       []struct {
				Metadata struct{ Stream, Consumer string }
			}
		}
		decode(t, o.at("spec"), &spec)
		at := slices.IndexFunc(all, func(d object) bool { return d.name() == "Deployment/"+spec.ScaleTargetRef.Name })
		if at < 0 {
			t.Errorf("%s: no Deployment %s", o.name(), spec.ScaleTargetRef.Name)
			continue
		}
		var pod struct {
			Containers []struct {
				Env []struct{ Name, Value string }
			}
		}
		decode(t, all[at].pod(), &pod)
		chains := ""
		for _, e := range pod.Containers[0].Env {
			if e.Name == "BELAY_CHAINS" {
				chains = e.Value
			}
		}
		var streams []string
		for _, trigger := range spec.Triggers {
			streams = append(streams, trigger.Metadata.Stream)
			if trigger.Metadata.Consumer != "chain-"+chains {
				t.Errorf("%s asks for %s, and its workers run %s", o.name(), trigger.Metadata.Consumer, chains)
			}
		}
		if want := "[IN_0 IN_1 IN_2 RETRY]"; fmt.Sprint(streams) != want {
			t.Errorf("%s has triggers for %v, want %s", o.name(), streams, want)
		}
	}
	if found == 0 {
		t.Error("there is no ScaledObject")
	}
}
