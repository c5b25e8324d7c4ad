# run    try Belay out: everything in one process, temporary data, a demo configuration
# test   everything that must pass
# test-power   the power cut and the full disk: root, loop devices and mkfs.ext4 (Debian: e2fsprogs)
# test-sdk     against the SDKs of the providers, of Go and of npm: needs Node.js with npm
# lint   the linters of .golangci.yml (downloads and builds golangci-lint the first time)
# bench  the benchmarks        fuzz   each fuzz test for FUZZTIME        build   bin/

GO       ?= go
FUZZTIME ?= 30s
BENCH    ?= .
LINT      = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.DEFAULT_GOAL := test
.PHONY: run test test-power test-sdk lint bench fuzz build

run:
	$(GO) run ./cmd/belay serve --dev

test:
	@unformatted="$$(gofmt -l .)"; if [ -n "$$unformatted" ]; then \
		echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) test -race -shuffle=on ./...

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
