# run    try Belay out: everything in one process, temporary data, a demo configuration
# test   everything that must pass
# test-power   the power cut and the full disk: root, loop devices and mkfs.ext4 (Debian: e2fsprogs)
# test-sdk     against the SDKs of the providers, of Go and of npm: needs Node.js with npm
# test-k8s     on the cluster that KUBECONFIG names, in a namespace of its own, belay-test.
#              It needs kubectl, a default StorageClass, and the images on the nodes:
#                kind create cluster
#                docker pull nats:2.15.2 && make images TAG=dev
#                kind load docker-image $(make -s image-names TAG=dev)
#                KUBECONFIG=~/.kube/config make test-k8s
# test-keda    there too, where KEDA runs: workers from none to several and back
# images       of the programs, with docker buildx: belay/ingress:TAG and so on
# lint   the linters of .golangci.yml (downloads and builds golangci-lint the first time)
# bench  the benchmarks        fuzz   each fuzz test for FUZZTIME        build   bin/

GO       ?= go
FUZZTIME ?= 30s
BENCH    ?= .
LINT      = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.DEFAULT_GOAL := test
.PHONY: run test test-power test-sdk test-k8s test-keda images image-names lint bench fuzz build

run:
	$(GO) run ./cmd/belay serve --dev

test:
	@unformatted="$$(gofmt -l .)"; if [ -n "$$unformatted" ]; then \
		echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) test -race -shuffle=on ./...
	cd test/k8s && $(GO) vet ./... && $(GO) test -shuffle=on ./...

test-power:
	$(GO) vet -tags power ./test
	$(GO) test -race -count=1 -tags power -run '^(TestPowerCut|TestDiskFull)$$' -v ./test

# A module of its own, with some 500 MB of packages: they are installed again
# when the lock file has changed.
test-sdk: test/sdk/node/node_modules/.package-lock.json
	cd test/sdk && $(GO) vet . && $(GO) test -count=1 -shuffle=on .

test/sdk/node/node_modules/.package-lock.json: test/sdk/node/package-lock.json
	@command -v npm >/dev/null && command -v node >/dev/null || { \
		echo "make test-sdk needs Node.js 20 or newer with npm: https://nodejs.org"; exit 1; }
	cd test/sdk/node && npm ci --ignore-scripts --no-audit --no-fund

test-k8s:
	cd test/k8s && $(GO) vet -tags k8s ./... && $(GO) test -count=1 -timeout 40m -tags k8s -v .

test-keda:
	cd test/k8s && $(GO) vet -tags keda ./... && $(GO) test -count=1 -timeout 20m -tags keda -run TestKeda -v .

PROGRAMS = ingress worker outbox console belay
TAG     ?= $(shell git describe --tags --always --dirty)
image    = docker buildx build --build-arg VERSION=$(TAG) --build-arg REVISION=$$(git rev-parse HEAD) \
	--build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) --build-arg PROGRAM=$(1) $(2) \
	--output type=docker,name=belay/$(1):$(TAG),rewrite-timestamp=true .

# The last one is for make test-k8s.
images:
	$(foreach program,$(PROGRAMS),$(call image,$(program),) &&) \
	$(call image,traffic,--build-arg MODULE=test/k8s --build-arg PACKAGE=traffic)

image-names:
	@echo $(foreach program,$(PROGRAMS) traffic,belay/$(program):$(TAG)) nats:2.15.2

lint:
	$(GO) run $(LINT) run ./...

bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

# go test fuzzes one target of one package at a time.
fuzz:
	@set -e; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...
