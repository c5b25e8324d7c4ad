// Command mkschema writes the JSON schemas that the manifests are checked with: of
// Kubernetes from its OpenAPI document, and of custom resources from their definitions.
// It takes them from the modules of their projects, which go mod download fetches, and
// keeps what the kinds below need, without its descriptions.
//
//	go run ./mkschema schemas
//
// With --definitions it prints the paths of the definitions of custom resources, for
// kubectl apply.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
	"sigs.k8s.io/yaml"

	"github.com/belay-hooks/belay/pkg/service"
)

// kubernetes is the oldest version that the manifests are for, or newer.
const kubernetes = "k8s.io/kubernetes@v1.34.4"

// builtin are the kinds of Kubernetes that the manifests use, by their names in the
// document.
var builtin = []string{
	"io.k8s.api.core.v1.Namespace", "io.k8s.api.core.v1.ConfigMap", "io.k8s.api.core.v1.Secret", "io.k8s.api.core.v1.Service",
	"io.k8s.api.core.v1.ServiceAccount", "io.k8s.api.core.v1.Pod", "io.k8s.api.apps.v1.Deployment", "io.k8s.api.apps.v1.StatefulSet",
	"io.k8s.api.batch.v1.Job", "io.k8s.api.policy.v1.PodDisruptionBudget", "io.k8s.api.networking.v1.NetworkPolicy",
	"io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
}

// custom are the definitions of the other kinds, by the modules that hold them.
var custom = map[string][]string{
	"github.com/kedacore/keda/v2@v2.21.0": {"config/crd/bases/keda.sh_scaledobjects.yaml"},
	"sigs.k8s.io/gateway-api@v1.5.1": {
		"config/crd/standard/gateway.networking.k8s.io_gateways.yaml", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
	},
	"github.com/prometheus-operator/prometheus-operator@v0.92.0": {
		"example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml", "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
		"example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
	},
	"github.com/cert-manager/cert-manager@v1.20.0": {"deploy/crds/cert-manager.io_certificates.yaml", "deploy/crds/cert-manager.io_issuers.yaml"},
}

func main() {
	service.Main("mkschema", func(ctx context.Context) error {
		var c struct {
			Dir         string `arg:"" optional:"" default:"schemas" help:"Where to."`
			Definitions bool   `help:"Print the paths of the definitions of custom resources."`
		}
		if out := kong.Parse(&c).Stdout; c.Definitions {
			return printDefinitions(ctx, out)
		}
		return run(ctx, c.Dir)
	})
}

func run(ctx context.Context, dir string) error {
	var document struct {
		Definitions map[string]object `json:"definitions"`
	}
	text, err := read(ctx, kubernetes, "api/openapi-spec/swagger.json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return err
	}
	for _, name := range builtin {
		parts := strings.Split(strings.TrimPrefix(name, "io.k8s.api."), ".")
		group, version, kind := parts[0], parts[1], parts[2]
		if err := write(dir, group, version, kind, whole(document.Definitions, name)); err != nil {
			return err
		}
	}
	for module, files := range custom {
		for _, file := range files {
			text, err := read(ctx, module, file)
			if err != nil {
				return err
			}
			if err := writeCustom(dir, text); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return nil
}

// writeCustom writes the schemas of a CustomResourceDefinition.
func writeCustom(dir string, text []byte) error {
	var crd struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPIV3Schema object `json:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return err
	}
	group, _, _ := strings.Cut(crd.Spec.Group, ".")
	for _, v := range crd.Spec.Versions {
		if err := write(dir, group, v.Name, crd.Spec.Names.Kind, strict(v.Schema.OpenAPIV3Schema).(object)); err != nil {
			return err
		}
	}
	return nil
}

func printDefinitions(ctx context.Context, out io.Writer) error {
	for module, files := range custom {
		dir, err := download(ctx, module)
		if err != nil {
			return err
		}
		for _, file := range files {
			if _, err := fmt.Fprintln(out, filepath.Join(dir, file)); err != nil {
				return err
			}
		}
	}
	return nil
}

// read is a file of a module.
func read(ctx context.Context, module, file string) ([]byte, error) {
	dir, err := download(ctx, module)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, file))
}

// download is the directory of a module.
func download(ctx context.Context, module string) (string, error) {
	printed, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", module).Output()
	if err != nil {
		return "", fmt.Errorf("go mod download %s: %w\n%s", module, err, printed)
	}
	var at struct{ Dir string }
	err = json.Unmarshal(printed, &at)
	return at.Dir, err
}

func write(dir, group, version, kind string, schema object) error {
	text, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	name := strings.ToLower(fmt.Sprintf("%s-%s-%s.json", kind, group, version))
	if group == "core" {
		name = strings.ToLower(fmt.Sprintf("%s-%s.json", kind, version))
	}
	return os.WriteFile(filepath.Join(dir, name), append(text, '\n'), 0o644)
}
