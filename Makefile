# SPDX-License-Identifier: Apache-2.0
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

TOOL := go tool -modfile=test/tools/go.mod
GOFILES = $(shell git ls-files --cached --others --exclude-standard '*.go' ':!bpf/*_bpfel.go')
export CGO_ENABLED := 0

# compile,OUTPUT,PACKAGE: go build that says every 100 packages how far it is. Without gRPC's tracing pages, whose
# templates call methods by name, the linker leaves out methods that nobody calls: half of the enforcer.
compile = go build -v -tags grpcnotrace -o $(1) $(2) 2>&1 | \
  awk '/^[a-zA-Z0-9._~\/-]+$$/ {if (++n % 100 == 0) {print "  $(1): " n " packages compiled"; fflush()} next} {print; fflush()}'

##@ Use

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the three binaries into bin/
	@echo "building bulkhead, bulkhead-webhook and bulkhead-enforcer into bin/ (the first time takes 2 to 3 minutes)"
	@mkdir -p bin
	@$(call compile,bin/bulkhead,./generator)
	@$(call compile,bin/bulkhead-webhook,./webhook)
	@$(call compile,bin/bulkhead-enforcer,./enforcer)

demo: packages control-plane build ## Run the whole loop on a real API server with real packets (KEEP=1: leave it running)
	@$(call compile,bin/demo,./test/demo)
	@bin/demo --bin bin $(if $(KEEP),--keep)

##@ Develop

test: packages node-packages node-tools ## Run all tests; needs root for those with packets
	go test -timeout 30m $$(go list ./... | grep -vE '$(ALONE)')
	go test -timeout 30m -count=1 -p 1 $$(go list ./... | grep -E '$(ALONE)')

# What is tested one package after the other, and every time, because it fills the machine or hangs on its timing.
ALONE := /enforcer/internal/(dataplane|plan)$$|/test/(cluster|endurance|firstpacket)


lint: ## go vet, staticcheck, gofumpt; Regal, opa check and opa fmt
	go vet ./...
	$(TOOL) staticcheck ./...
	@unformatted=$$($(TOOL) gofumpt -l $(GOFILES)); [ -z "$$unformatted" ] || { echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; }
	go tool -modfile=test/tools/regal/go.mod regal lint --config-file policies/rego/.regal.yaml policies/rego
	$(TOOL) opa check --strict --capabilities policies/gate/capabilities.json policies/rego
	$(TOOL) opa fmt --fail --list policies/rego

fmt: ## Format Go and Rego
	$(TOOL) gofumpt -w $(GOFILES)
	$(TOOL) opa fmt -w policies/rego

generate: compiler ## Regenerate everything that is generated
	go generate ./...

verify: generate ## Regenerate everything and fail if something differs from what is committed
	go mod tidy -diff
	go mod verify
	@git diff --exit-code -- bpf policies charts || { echo "generated files differ from what is committed: run 'make generate' and commit"; exit 1; }

bench: packages control-plane ## Run the benchmarks: datapath, generator, semantics, rules
	go test -run '^$$' -bench . -timeout 30m $$(go list ./... | grep -v /test/)

bench-enforcer: ## Measure what the datapath costs: traffic with it and without, packets by size of cluster, accounting (needs root and an idle machine; takes 15 minutes)
	@mkdir -p bin
	@$(call compile,bin/cost,./enforcer/internal/cost)
	@bin/cost traffic $(ARGS)
	@bin/cost packets
	@bin/cost accounting

bench-generator: ## Measure bulkhead generate on 10 million flows of 5,000 pods (needs an idle machine; ARGS=--help explains; takes 2 minutes)
	@mkdir -p bin
	@$(call compile,bin/bulkhead,./generator)
	@$(call compile,bin/scale,./test/scale)
	@bin/scale $(ARGS)

bench-onboarding: control-plane ## Measure that no pod is faster than its policies (ARGS=--help explains; takes minutes)
	@mkdir -p bin
	@$(call compile,bin/bulkhead-webhook,./webhook)
	@$(call compile,bin/onboarding,./test/onboarding)
	@bin/onboarding $(ARGS)

bench-firstpacket: packages node-packages node-tools ## Measure that no packet of a new pod is judged by anything but its policies (ARGS=--help explains; takes 15 minutes)
	@$(call compile,bin/bulkhead-enforcer,./enforcer)
	@$(call compile,bin/firstpacket,./test/firstpacket)
	@bin/firstpacket $(ARGS)

bench-restarts: control-plane ## Measure that restarts of the webhook are not noticed (ARGS=--help explains; takes most of an hour)
	@mkdir -p bin
	@$(call compile,bin/bulkhead-webhook,./webhook)
	@$(call compile,bin/restarts,./test/restarts)
	@bin/restarts $(ARGS)

bench-endurance: packages control-plane compiler ## Measure that the enforcer leaks and loses nothing, whatever happens to it (ARGS=--help explains; takes 25 minutes; needs root)
	@mkdir -p bin
	@$(call compile,bin/bulkhead-enforcer,./enforcer)
	@$(call compile,bin/endurance,./test/endurance)
	@test/endurance/other-maps bin/bulkhead-enforcer-other
	@bin/endurance --other bin/bulkhead-enforcer-other $(ARGS)

bench-webhook: control-plane ## Measure the webhook's memory, answers under load, crashes and hand-over (takes 10 minutes; needs two cores)
	@mkdir -p bin
	@$(call compile,bin/bulkhead-webhook,./webhook)
	@$(call compile,bin/onboarding,./test/onboarding)
	@bin/onboarding crash
	@bin/onboarding handover
	@taskset -c 1 bin/onboarding load $(ARGS)

cluster-up: packages node-packages node-tools ## Start a Kubernetes cluster on this machine (NODES=2, CNI=bridge, IPV6=1, DIR=bin/cluster); needs root
	@go build -o bin/test/cluster ./test/cluster/run
	@bin/test/cluster up $(CLUSTER)

cluster-down: ## End it and remove everything of it
	@go build -o bin/test/cluster ./test/cluster/run
	@bin/test/cluster down $(CLUSTER)

conformance: packages node-packages node-tools ## Run Kubernetes' tests of NetworkPolicy against the enforcer (NODES=2, CNI=bridge, IPV6=1, ARGS=--help explains; takes 10 minutes)
	@go run ./test/cluster/prepare e2e.test
	@$(call compile,bin/bulkhead-enforcer,./enforcer)
	@$(call compile,bin/conformance,./test/conformance)
	@bin/conformance $(if $(NODES),--nodes=$(NODES)) $(if $(CNI),--cni=$(CNI)) $(if $(IPV6),--ipv6) $(ARGS)

CLUSTER = $(if $(DIR),--dir=$(DIR)) $(if $(NODES),--nodes=$(NODES)) $(if $(CNI),--cni=$(CNI)) $(if $(IPV6),--ipv6)

coverage: ## Show what of the policy engine the random clusters do not reach; fail if it is in what decides
	@mkdir -p bin
	go test -run Agrees -coverprofile bin/coverage.out ./policies/netpol
	@go tool cover -func bin/coverage.out | awk '{f = $$1; sub(/.*\//, "", f); sub(/%/, "", $$3)} $$3 < 100 {print "  " f, $$2, $$3 "%"} \
	  $$3 < 100 && f ~ /^($(DECIDES))\.go/ {missed = 1} END {if (missed) {print "the random clusters must reach every statement of: $(DECIDES)"; exit 1}}'

# The files of policies/netpol that decide, as a regular expression.
DECIDES := allowed|build|clusterpolicy|compile|evaluate|namespace|pod|policy|service|tier|translate

# Until Go 1.27 fuzzing may end with its own deadline as the only error (golang/go#75804): then it is tried once more.
fuzz: ## Run the fuzz targets of PACKAGES (default: all) for FUZZTIME (default 10s) each
	@mkdir -p bin; for pkg in $$(go list $${PACKAGES:-./...}); do \
	  for f in $$(go test -list '^Fuzz' $$pkg | grep ^Fuzz || true); do \
	    run() { echo "$$pkg $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-10s} -fuzzminimizetime 1s $$pkg 2>&1 | tee bin/fuzz.log; }; \
	    run || { ! grep -q 'Failing input' bin/fuzz.log && grep -q '^ *context deadline exceeded$$' bin/fuzz.log && run; } || exit 1; done; done

clean: ## Remove everything that was built
	@[ ! -e bin/cluster/server ] || $(MAKE) cluster-down
	rm -rf bin

# What the tests and the demo need of Debian, installed when it is missing.
packages:
	@test/install-packages nft:nftables git:git chromium:chromium

# The first time takes about three minutes for the control plane, one for Helm and two for Hubble's command.
control-plane:
	@go run ./test/cluster/prepare etcd kube-apiserver helm hubble

# The first time takes about ten minutes, and a gigabyte of disk.
node-tools: control-plane
	@go run ./test/cluster/prepare node

node-packages:
	@test/install-packages runc:runc iptables:iptables

compiler:
	@test/install-packages clang-14:clang-14 llvm-strip-14:llvm-14

.PHONY: help build demo test lint fmt generate verify bench bench-enforcer bench-generator bench-onboarding bench-webhook bench-restarts bench-firstpacket bench-endurance coverage fuzz clean cluster-up cluster-down conformance \
  packages control-plane node-packages node-tools compiler
