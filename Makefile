# Runnel. "make" lists the targets.

GO       ?= go
FUZZTIME ?= 10m
SOAK     ?= 20
OPS      ?= 500000
HISTORY  ?= 20m
EXIT     ?=

# The released binary is pure Go. Only the race detector needs a C compiler.
export CGO_ENABLED = 0

GOLANGCI         := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
GOLANGCI_VERSION := 2.15.0

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/runnel
	@echo "building bin/runnel (the first build downloads modules and compiles them: minutes, later ones take seconds)"
	$(GO) build -trimpath -o bin/runnel ./cmd/runnel

.PHONY: test
test: ## vet, and run all tests; with the race detector if there is a C compiler
	$(GO) vet ./...
	@if command -v "$$($(GO) env CC | cut -d' ' -f1)" >/dev/null; then \
	  echo "$(GO) test -race -shuffle=on of all but conformance, then that, one session at a time"; \
	  export CGO_ENABLED=1; \
	  $(GO) test -race -shuffle=on -timeout=20m $$($(GO) list ./... | grep -v /conformance$$) && \
	  $(GO) test -race -shuffle=on -parallel=1 -timeout=20m ./conformance; \
	elif [ "$$CI" = true ]; then \
	  echo "make test: no C compiler, which the race detector needs; install one (Debian: gcc libc6-dev)" >&2; exit 1; \
	else \
	  echo "no C compiler: testing without the race detector"; \
	  $(GO) test -shuffle=on -timeout=20m $$($(GO) list ./... | grep -v /conformance$$) && \
	  $(GO) test -shuffle=on -parallel=1 -timeout=20m ./conformance; \
	fi

.PHONY: demo
demo: build ## the main job from nothing, on loopback, until Ctrl-C; EXIT=1 stops after the summary
	./bin/runnel demo $(if $(EXIT),--exit)

.PHONY: bench
bench: ## measure; results name machine, commit and command
	$(GO) run ./bench

.PHONY: soak
soak: ## 20 minutes at 80 % of the top rate, a restart with ten million messages, a minute of overload, 1,000 deadline kills, 10,000 starts of workers, 100 deploys under load, 20 kills SOAK times, and the tests of store, queues and dispatch SOAK times (default 20)
	@echo "this loads all cores for a long time"
	$(GO) run ./bench -only soak,restart
	RUNNEL_SOAK=1 $(GO) test -count=1 -v -run='^TestFlowOverload$$' ./server
	RUNNEL_SOAK=1 $(GO) test -count=1 -timeout=0 -v -run='^Test(ManyDeadlines|NothingLeaks)$$' ./internal/worker
	RUNNEL_SOAK=1 $(GO) test -count=1 -v -run='^TestVersionsUnderLoad$$' ./server
	$(GO) test -count=$(SOAK) -timeout=0 -v -run='^TestKillFlow$$' ./cmd/runnel
	$(GO) test -shuffle=on -count=$(SOAK) -timeout=0 ./internal/store/... ./internal/queue/... ./internal/dispatch/...

.PHONY: model
model: ## OPS random operations (default 500000) on a model of each kind of queue, printed by kind
	RUNNEL_MODEL=$(OPS) $(GO) test -count=1 -v -timeout=0 -run='^Test(FIFO)?Model$$' ./internal/queue -rapid.steps=200 -rapid.nofailfile

.PHONY: history
history: ## clients, kills and jumps of the clock for HISTORY (default 20m), and a check of what they saw
	RUNNEL_HISTORY=$(HISTORY) $(GO) test -count=1 -v -timeout=0 -run='^TestHistory$$' ./internal/queue/history

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 10m each), and 100,000 requests at the routes of the HTTP APIs
	@echo "this loads all cores for $(FUZZTIME) a target"
	@grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | { \
	  found=; \
	  while IFS=: read -r file func; do \
	    found=1; func=$${func#func }; dir=$$(dirname "$$file"); \
	    echo "fuzz $$dir $$func for $(FUZZTIME)"; \
	    $(GO) test -run='^$$' -fuzz="^$$func\$$" -fuzztime=$(FUZZTIME) "$$dir" </dev/null || exit 1; \
	  done; \
	  [ -n "$$found" ] || echo "there is no fuzz target"; }
	RUNNEL_ROUTES=100000 $(GO) test -count=1 -v -timeout=0 -run='^TestRoutesWithstand$$' ./server

.PHONY: lint
lint: ## golangci-lint at the pinned version; built on the first run if it is not installed
	@if [ "$$(golangci-lint version --short 2>/dev/null)" = "$(GOLANGCI_VERSION)" ]; then \
	  golangci-lint run ./...; \
	else \
	  echo "golangci-lint $(GOLANGCI_VERSION) is not installed: building it (minutes, once)"; \
	  $(GO) run $(GOLANGCI)@v$(GOLANGCI_VERSION) run ./...; \
	fi

.PHONY: fmt
fmt: ## format all Go files as lint wants them
	@if [ "$$(golangci-lint version --short 2>/dev/null)" = "$(GOLANGCI_VERSION)" ]; then \
	  golangci-lint fmt ./...; \
	else \
	  $(GO) run $(GOLANGCI)@v$(GOLANGCI_VERSION) fmt ./...; \
	fi

.PHONY: clean
clean: ## remove what make built
	rm -rf bin
