# slipway: everything that a person or CI runs. "make help" lists it.
#
# Nothing here needs more than Go, git and make; what needs a server or a privilege installs it, or says why it does not.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
# grpcnotrace leaves golang.org/x/net/trace out of grpc, which nobody looks at in an init container.
TAGS    := grpcnotrace
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -tags $(TAGS) -ldflags '$(LDFLAGS)'

# How long each fuzz target runs in "make fuzz".
FUZZTIME ?= 60s

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/slipway, static
	$(BUILD) -o bin/slipway ./cmd/slipway

.PHONY: demo
demo: ## Run a whole chain against small real servers (FULL=1: those that take minutes to build, too)
	@CGO_ENABLED=0 $(GO) run -trimpath -buildvcs=false ./examples/demo $(if $(FULL),-full)

# The race detector needs a C compiler; where there is none the tests run without it, and say so.
RACE := $(shell command -v gcc cc clang >/dev/null 2>&1 && echo -race)

.PHONY: test
test: ## Units, CLI scripts and fuzz seeds, with the race detector
	@[ -n "$(RACE)" ] || { [ -z "$(CI)" ] && echo "no C compiler: without the race detector (apt-get install gcc libc6-dev)"; }
	CGO_ENABLED=$(if $(RACE),1,0) $(if $(CI),.ci/unskipped) $(GO) test $(RACE) $(if $(CI),-v) ./...

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZTIME each
	@GO='$(GO)' .ci/fuzz $(FUZZTIME)

.PHONY: e2e
e2e: ## Tests against real servers: databases, nginx, a collector, Vault, S3
	@e2e/deps.sh || { [ -z "$(CI)" ] && echo "skipped: the servers above are missing" && exit 0; exit 1; } && \
	  $(GO) -C e2e run ./tools consul gitea minio otelcol toxiproxy vault versitygw >/dev/null && \
	  $(GO) -C e2e test -count=1 -timeout 30m $$($(GO) -C e2e list ./... | grep -v /e2e/vm)

.PHONY: e2e-vm
e2e-vm: ## Tests in virtual machines: AppArmor and SELinux on kernels that have them
	@e2e/deps.sh vm || { [ -z "$(CI)" ] && echo "skipped: the programs above are missing" && exit 0; exit 1; } && \
	  $(if $(CI),.ci/unskipped) $(GO) -C e2e test -count=1 -timeout 20m $(if $(CI),-v) ./vm

.PHONY: bench
bench: ## Figures beside the rivals', in one run
	$(GO) -C e2e run ./bench

.PHONY: lint
lint: ## gofumpt, vet, staticcheck, deadcode, and a build for macOS
	@unformatted=$$($(GO) tool gofumpt -l cmd steps internal examples e2e); \
	  if [ -n "$$unformatted" ]; then echo "not gofumpt's form: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@dead=$$($(GO) tool deadcode -test ./...); if [ -n "$$dead" ]; then echo "$$dead"; exit 1; fi
	CGO_ENABLED=0 GOOS=darwin $(GO) build -o /dev/null ./cmd/slipway
	CGO_ENABLED=0 GOOS=darwin $(GO) vet ./...
	$(GO) -C e2e vet ./...
	@staticcheck=$$($(GO) tool -n staticcheck) && cd e2e && $$staticcheck ./...

.PHONY: check
check: lint test e2e ## What to run before a commit

.PHONY: man
man: ## Man pages in dist/man
	$(GO) run ./cmd/slipway-man dist/man

.PHONY: image
image: ## The container image (BASE=… where no registry can be reached)
	images/build
