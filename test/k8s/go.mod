module github.com/belay-hooks/belay/test/k8s

go 1.26.0

replace github.com/belay-hooks/belay => ../..

require (
	github.com/blang/semver/v4 v4.0.0 // indirect
	github.com/yannh/kubeconform v0.8.0 // indirect
	go.yaml.in/yaml/v2 v2.4.4 // indirect
	sigs.k8s.io/kustomize/api v0.20.1 // indirect
	sigs.k8s.io/kustomize/kyaml v0.20.1 // indirect
	sigs.k8s.io/yaml v1.6.0 // indirect
)
