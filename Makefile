# Husk's tasks. `make help` lists them.

export GOFLAGS := -tags=pacific
SHELL := /bin/bash
.DEFAULT_GOAL := help

GO_FILES := $(shell find . -name '*.go' -not -path './build/*' -not -path './web/node_modules/*' -not -path './test/generators/*')
DEV := bin/huskd dev

.PHONY: help
help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: build ## Install missing packages, build, start everything and run the demo on it
	@$(DEV) --detach
	@echo "pods boot the kernel $$(cat build/kernel)"
	@bin/demo

.PHONY: fleet
fleet: build ## Install missing packages, build, and start three nodes and two servers on this machine
	@$(DEV) --detach --nodes 3 --servers 2

.PHONY: down
down: ## Stop everything and keep the data
	@if [ -x bin/huskd ]; then $(DEV) stop; fi

.PHONY: clean
clean: ## Stop everything and remove all data and build results
	@if [ -x bin/huskd ]; then $(DEV) clean; fi
	rm -rf bin build web/node_modules web/dist/* test/generators/build test/generators/node_modules

.PHONY: deps
deps: ## Install the Debian packages and the Go toolchain that are missing
	@./deps.sh

.PHONY: build
build: deps bin/huskd bin/husk bin/demo build/initramfs.cpio CHANGELOG.md ## Build the programs and the pods' initramfs

WEB_FILES := web/index.html web/vite.config.ts web/tsconfig.json $(shell find web/src web/public -type f)

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	@# not npm ci, which refuses a lock file without the URLs of packages for other platforms
	@. build/deps.env && cd web && npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error

web/dist/index.html: web/node_modules/.package-lock.json $(WEB_FILES)
	@. build/deps.env && cd web && npm run --silent build > /dev/null

bin/huskd: $(GO_FILES) go.mod migrations/*.sql openapi/openapi.yaml version/VERSION web/dist/index.html
	@. build/deps.env && go build -o $@ ./cmd/huskd

bin/husk: $(GO_FILES) go.mod version/VERSION
	@. build/deps.env && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o $@ ./cmd/husk

bin/demo: $(GO_FILES) go.mod
	@. build/deps.env && CGO_ENABLED=0 go build -o $@ ./test/demo

bin/husk-init: $(GO_FILES) go.mod
	@. build/deps.env && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o $@ ./cmd/husk-init

bin/husk-probe: $(GO_FILES) go.mod
	@. build/deps.env && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o $@ ./cmd/husk-probe

# The path of the kernel that pods boot: Husk's own if `make kernel` has built it, otherwise Debian's. KERNEL=debian or KERNEL=husk chooses.
KERNEL ?= auto
build/kernel: FORCE | deps
	@. build/deps.env && go run ./kernel/mkinitramfs -kernel $(KERNEL) -print-kernel > $@.new && if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

.PHONY: FORCE
FORCE:

build/initramfs.cpio: bin/husk-init bin/husk-probe build/kernel $(wildcard kernel/*.go kernel/*/*.go)
	@. build/deps.env && go run ./kernel/mkinitramfs -kernel $(KERNEL) -init bin/husk-init -probe bin/husk-probe -o $@ -vmlinuz-out build/vmlinuz

.PHONY: kernel
kernel: ## Build Husk's own small kernel, which pods then boot (15 minutes, once)
	@./kernel/build
	@$(MAKE) --no-print-directory build
	@echo "pods boot $$(cat build/kernel)"

CHANGELOG.md: $(wildcard changelog/*/*.md changelog/*.go) $(wildcard changelog/*)
	@. build/deps.env && go run ./changelog

.PHONY: generate
generate: deps ## Generate code from openapi.yaml and from the SQL
	. build/deps.env && go generate ./openapi
	. build/deps.env && cd web && npm run --silent generate
	. build/deps.env && go tool -modfile=tools/go.mod sqlc generate

# What the tests of generated clients need from elsewhere, so that the tests themselves need no network.
test/generators/node_modules/.package-lock.json: test/generators/package.json test/generators/package-lock.json test/generators/go.sum | build
	@. build/deps.env && cd test/generators && npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retries=5 && GOFLAGS= go mod download
	@touch $@

.PHONY: test
test: build test/generators/node_modules/.package-lock.json ## Run all tests, unit to end-to-end, with the real services
	@. build/deps.env && ./test/run

.PHONY: test-unit
test-unit: ## Run the tests that need only Go, without root and services
	@if [ -f build/deps.env ]; then . build/deps.env; fi && ./test/unit

.PHONY: screenshots
screenshots: build ## Check every page of the dashboard in every width and theme, and retake the screenshots in docs/dashboard
	@. build/deps.env && HUSK_SCREENSHOTS=$(CURDIR)/docs/dashboard HUSK_BROWSER_ONLY=pages go test ./test/e2e/dashboard -count=1 -timeout 60m
	@rm -f docs/dashboard/*-desktop-dark.png docs/dashboard/*-phone-light.png

.PHONY: attack
attack: build ## Run the tests of attacks, and check that they fail without the defences
	@. build/deps.env && go run ./test/attack

.PHONY: moves
moves: build ## Move a pod 20 times with its memory, and cut a move at every stage
	@. build/deps.env && go test ./test/e2e/moves -count=1 -v -timeout 2h

.PHONY: soak
soak: build ## Provoke 200 failovers with random faults, and check that volumes have one writer (hours)
	@. build/deps.env && go test ./test/e2e/soak -count=1 -v -timeout 12h $(if $(FAILOVERS),-failovers $(FAILOVERS)) $(if $(SEED),-seed $(SEED))

.PHONY: corpora
corpora: build ## Report which documents in the folder FOLDER husk accepts; needs a login
	@. build/deps.env && go run ./test/corpora -husk bin/husk $(FOLDER)

.PHONY: upgrade
upgrade: build ## Replace the previous version of servers and agents by this one, while requests arrive
	@. build/deps.env && ./test/upgrade/run

.PHONY: release
release: deps web/node_modules/.package-lock.json ## Build packages, programs, an SBOM and checksums of the current commit into build/release
	@. build/deps.env && deploy/packages/release

.PHONY: release-check
release-check: deps web/node_modules/.package-lock.json ## Build the release twice, and install, run and purge its packages on fresh Debians
	@. build/deps.env && test/release/run

.PHONY: install-check
install-check: deps web/node_modules/.package-lock.json ## Install a release on four fresh machines as docs/install.md says; RELEASE is its folder, UPGRADE a later one
	@. build/deps.env && test/install/run $(RELEASE) $(UPGRADE)

.PHONY: compose
compose: build ## Build and start what docker-compose.yml describes, and let an agent join and run a pod; RELEASE is the folder of one
	@. build/deps.env && test/compose/run $(RELEASE)

.PHONY: bench
bench: build ## Compare the API and scrapes with their SQL alone, and pod start and keystroke echo with plain QEMU
	@. build/deps.env && go test ./server ./store ./test/scale -run '^$$' -bench . -benchtime 1x -timeout 20m
	@. build/deps.env && go test ./test/networks -run '^$$' -bench . -benchtime 1x -timeout 30m
	@. build/deps.env && go test ./test/e2e/bench -run '^$$' -bench . -benchtime 10x -timeout 20m
	@. build/deps.env && go test ./test/e2e/fleet -run '^$$' -bench . -benchtime 3x -timeout 30m

.PHONY: lint
lint: deps web/node_modules/.package-lock.json ## Check formatting and English, and lint the code and the API's contract
	@. build/deps.env && ./test/lint
