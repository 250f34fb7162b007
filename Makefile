# Earlybird: everything a person or CI types. `make` alone lists it.

GO            ?= go
GOLANGCI_LINT := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT    := $(GO) run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 -shellcheck= -pyflakes=

# The race detector needs a C compiler; on a machine with Go alone the tests run without it.
RACE := $(shell command -v "$$($(GO) env CC)" >/dev/null 2>&1 && [ "$$($(GO) env CGO_ENABLED)" = 1 ] && echo -race)

# The local stack is a module of its own, so that its embedded servers never enter the product;
# so are the generator of assembly and the tests of page, dashboards and chart, for their libraries.
MODULES := . deploy/local deploy/browser deploy/dashboards deploy/helm identity/password/argon2id/gen

# Where the product's code runs under the race detector. For the other modules it would compile large libraries once more.
RACED := . deploy/local

GOBUILD := CGO_ENABLED=0 $(GO)

# How long each fuzz target runs, and which: what parses bytes from outside, and what is written in assembly.
FUZZTIME ?= 20s
FUZZ := ./identity/token:FuzzVerify ./identity/token:FuzzVerifySigned ./identity/token:FuzzParseAuthorization \
	./identity/token:FuzzParseKeySet ./identity/account:FuzzCanonical ./identity/account/enrolment:FuzzParseCode ./identity/httpapi:FuzzBody ./plugin/pluginserver:FuzzFrames ./plugin/pluginserver:FuzzReplies ./kong:FuzzValidate ./plugin/pluginserver:FuzzCalls ./plugin/edge:FuzzParsePlacement ./plugin/earlybird:FuzzParse \
	./identity/password/argon2id:FuzzIDKey ./identity/password/argon2id:FuzzCompress

.DEFAULT_GOAL := help

.PHONY: help
help: ## List what can be typed here
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the five programs into bin/
	$(GOBUILD) build -trimpath -o bin/earlybird ./admin
	$(GOBUILD) build -trimpath -o bin/earlybird-identity ./identity
	$(GOBUILD) build -trimpath -o bin/earlybird-auth ./plugin/earlybird-auth
	$(GOBUILD) build -trimpath -o bin/earlybird-tag ./plugin/earlybird-tag
	$(GOBUILD) -C deploy/local build -trimpath -o ../../bin/earlybird-local .

.PHONY: run
run: build ## Start everything on this machine; Ctrl-C stops it
	@bin/earlybird-local

.PHONY: secrets
secrets: ## Make the passwords, keys and certificate that docker compose takes; never replaces one
	@deploy/secrets.sh

.PHONY: test
test: ## Run every test (EARLYBIRD_REQUIRE_REAL=1: a missing server fails instead of skipping)
	@for m in $(RACED); do $(GO) -C $$m test $(RACE) -timeout 20m ./... || exit 1; done
	@for m in $(filter-out $(RACED),$(MODULES)); do $(GO) -C $$m test -timeout 20m ./... || exit 1; done
	$(GO) test -tags purego ./identity/password/argon2id

.PHONY: e2e
e2e: ## Run the journey against GATEWAY_URL, or against a local stack of its own
	$(GO) test -count=1 -timeout 15m -v ./deploy/e2e

.PHONY: fuzz
fuzz: ## Fuzz what reads tokens, keys, usernames, codes, bodies, headers, frames, kong.yml, and Argon2id, FUZZTIME (20s) each
	@for target in $(FUZZ); do $(GO) test $${target%%:*} -run '^$$' -fuzz "^$${target##*:}$$" -fuzztime $(FUZZTIME) || exit 1; done

.PHONY: bench-edge
bench-edge: ## Measure the plugins beside a plugin on go-pdk's own server (deploy/bench/README.md)
	$(GO) test ./deploy/bench/edge -run '^$$' -bench Edge -benchtime 1x -timeout 60m

.PHONY: bench-place
bench-place: ## Measure first logins beside a bare insert of one document (deploy/bench/README.md)
	$(GO) test ./deploy/bench/place -run '^$$' -bench Place -benchtime 1x -timeout 60m

.PHONY: bench-login
bench-login: ## Measure logins, registrations and reads beside x/crypto's argon2id (deploy/bench/README.md)
	$(GO) test ./deploy/bench/login -run '^$$' -bench Login -benchtime 1x -timeout 60m

.PHONY: generate
generate: ## Write Argon2id's assembly anew
	$(GO) generate ./identity/password/argon2id

# The first line of a generated file names the command, with the folder it wrote to.
.PHONY: generated
generated:
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && cd identity/password/argon2id && \
	$(GO) -C gen run . -pkg argon2id -out "$$dir/compress_amd64.s" -stubs "$$dir/compress_amd64.go" && \
	for f in compress_amd64.s compress_amd64.go; do \
	  sed 1d "$$dir/$$f" >"$$dir/made" && sed 1d $$f | cmp - "$$dir/made" || { echo "argon2id/$$f is not what gen makes: make generate"; exit 1; }; \
	done

.PHONY: check
check: generated ## Formatting, lint, tidy modules, generated code, workflows: what CI runs before the tests
	@$(ACTIONLINT) .github/workflows/*.yml
	@for m in $(MODULES); do \
	  $(GO) -C $$m mod tidy -diff && (cd $$m && $(GOLANGCI_LINT) run ./...) || exit 1; \
	done

.PHONY: vulnerabilities
vulnerabilities: ## Look for known vulnerabilities in every module; needs the network
	@for m in $(MODULES); do echo "$$m" && $(GO) -C $$m run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./... || exit 1; done

# Where dist writes, and what the programs say they are.
DIST ?= dist
RELEASED := earlybird=./admin earlybird-identity=./identity earlybird-auth=./plugin/earlybird-auth earlybird-tag=./plugin/earlybird-tag

.PHONY: dist
dist: ## Build a release's archives and their checksums into dist/: make dist VERSION=v1.2.3
	@echo '$(VERSION)' | grep -Eqx 'v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?' || { echo 'VERSION must be such as v1.2.3'; exit 2; }
	@rm -rf '$(DIST)' && for arch in amd64 arm64; do \
	  to='$(DIST)'/earlybird_$(VERSION)_linux_$$arch && mkdir -p $$to && cp LICENSE CHANGELOG.md kong/kong.conf $$to || exit 1; \
	  for p in $(RELEASED); do \
	    GOOS=linux GOARCH=$$arch $(GOBUILD) build -trimpath -ldflags '-s -w -X github.com/earlybird/earlybird/identity/program.version=$(VERSION)' \
	      -o $$to/$${p%=*} $${p#*=} || exit 1; \
	  done; \
	  tar -C '$(DIST)' --owner=0 --group=0 -czf $$to.tar.gz $${to##*/} && rm -r $$to || exit 1; \
	done && cd '$(DIST)' && sha256sum *.tar.gz >checksums.txt

.PHONY: fmt
fmt: ## Format the code
	@for m in $(MODULES); do (cd $$m && $(GOLANGCI_LINT) fmt ./...) || exit 1; done

.PHONY: clean
clean: ## Remove what was built; var/, the state of the local stack, stays
	rm -rf bin dist
