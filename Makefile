# What landlord's contributors and CI run. `make` alone lists the targets; a line that starts a
# target and carries a `## text` is documented, the rest are details of the others.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-builtin-rules --no-print-directory

# Packages, test selection and times, all to be overridden on the command line:
#   make test PKG=./internal/apikey/... RUN=TestVerify
PKG       ?= ./...
RUN       ?=
BENCH     ?= .
FUZZTIME  ?= 20s
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# The linter, the scanner and the test runner live in a module of their own, so that their
# hundreds of requirements never reach the programs we ship.
TOOL      := go tool -modfile=tools/go.mod
GOBUILD   := CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)"

.PHONY: help dev test test-short test-long fuzz bench bench-verify bench-webhooks lint fmt vuln build build-migrate \
	migrate-up migrate-down migrate-down-all migrate-version migrate-create \
	goldens goldens-check migrations-check deps gateways ci clean

help: ## List the targets
	@awk 'BEGIN { FS = ":[^#]*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z][a-z-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Daily

dev: ## Start PostgreSQL, migrate, seed a demo world and serve; stop with ctrl-c
	@scripts/deps.sh postgres
	@go build -o bin/landlord ./cmd/landlord
	@exec bin/landlord dev

test: gateways ## Run every test with the race detector; PKG= and RUN= select
	@scripts/deps.sh test
	@scripts/test.sh -race -timeout 15m $(if $(RUN),-run '$(RUN)') $(PKG)

test-short: ## Run the tests that need no PostgreSQL
	@scripts/test.sh -short -timeout 2m $(if $(RUN),-run '$(RUN)') $(PKG)

test-long: gateways ## Run the long tests uncached, then each fuzz test for FUZZTIME
	@scripts/gateways.sh traefik
	@scripts/deps.sh test
	@LANDLORD_TEST_LONG=1 scripts/test.sh -race -count=1 -timeout 30m $(if $(RUN),-run '$(RUN)') $(PKG)
	@scripts/fuzz.sh $(FUZZTIME)

fuzz: ## Run each fuzz test for FUZZTIME
	@scripts/deps.sh test
	@scripts/fuzz.sh $(FUZZTIME)

bench: ## Run the benchmarks; BENCH= selects, PKG= narrows
	@scripts/deps.sh test
	@go test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 60m $(PKG)

bench-webhooks: ## Measure the delivery of webhooks, publisher and receivers on this machine; keep it quiet
	@go test -run '^$$' -bench 'Webhooks$(if $(BENCH),/$(BENCH))' -benchtime 1x -timeout 30m ./cmd/landlord

bench-verify: ## Measure verifications beside bare handlers, in turns; keep the machine quiet
	@scripts/deps.sh test
	@go test -run '^$$' -bench 'Verify_http|Gateway_|ExtAuthz' -benchtime 300x -timeout 20m ./internal/app
	@go test -run '^$$' -bench 'Check_warm|Check_miss|Entry_bytes' -benchmem -timeout 40m ./internal/apikey

fmt: ## Format the code
	@$(TOOL) golangci-lint fmt

lint: ## Lint (golangci-lint, pinned in tools/go.mod; its first build takes minutes)
	@$(TOOL) golangci-lint run

vuln: ## Scan for known vulnerabilities; VULN_REQUIRED=1 fails when that can't be done
	@scripts/vuln.sh

##@ Build

build: build-migrate ## Build bin/landlord and bin/landlord-migrate, static
	$(GOBUILD) -o bin/landlord ./cmd/landlord

build-migrate: ## Build only bin/landlord-migrate, static
	$(GOBUILD) -o bin/landlord-migrate ./cmd/migrate

deps: gateways ## Install what building and testing need, and download the modules
	@scripts/deps.sh test
	@go mod download

gateways: ## Build into bin/ the gateways that tests run and Debian doesn't have
	@scripts/gateways.sh caddy

clean: ## Remove what was built, and the test cache
	rm -rf bin coverage.out
	go clean -testcache

##@ Schema (of the database $LANDLORD_DATABASE_URL, connecting as the role that owns the tables)

migrate-up: ## Apply all outstanding migrations
	@go run ./cmd/migrate up

migrate-down: ## Revert the last migration
	@go run ./cmd/migrate down 1

migrate-down-all: ## Revert every migration; the tables and all their rows are gone
	@go run ./cmd/migrate down --all

migrate-version: ## Print the schema's version
	@go run ./cmd/migrate version

migrate-create: ## Make the next migration's two files: make migrate-create NAME=add_things
	@scripts/migrate-create.sh '$(NAME)'

##@ Generated files, and CI

goldens: ## Rewrite the golden files (API document, schema page, …)
	@scripts/deps.sh test
	@scripts/goldens.sh

goldens-check: ## Fail when a golden file isn't what the code makes today
	@scripts/deps.sh test
	@scripts/goldens.sh --check

migrations-check: ## Fail on a gap, a lone half or an odd name among the migrations
	@scripts/migrations-check.sh

ci: ## Run all that CI runs
	@.ci/run
