# `make` lists the targets. Needs make and Python 3.11, 3.12 or 3.13, nothing else.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
# the version that the lock was made with
UV := uv==0.13.8

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-crash test-servers test-ui test-compose test-duckdb coverage benchmark benchmark-peers lint format lock clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

setup: $(INSTALLED) ## make the environment in .venv from the lock

$(INSTALLED): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found. Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python"; exit 1; }
	@echo "Making the environment in .venv with $(PYTHON) (about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "This Python can't make environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements-dev.lock
	@$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python --editable .
	@touch $@

demo: $(INSTALLED) ## replicate an example and real data through Dagster, compare both sides, stop
	@$(BIN)/python -m deploy.local.demo

up: $(INSTALLED) ## the same, left running with the UI, until Ctrl-C
	@$(BIN)/python -m deploy.local.demo --keep

test: $(INSTALLED) ## the tests, with a Postgres of their own (three at a time, as they wait a lot)
	@$(BIN)/pytest -n 3 --dist loadfile --max-worker-restart 1

test-crash: $(INSTALLED) ## kill processes and servers at every point of the commit protocol (minutes)
	@$(BIN)/pytest -m crash -n 2 --dist loadfile --max-worker-restart 1

test-servers: $(INSTALLED) ## Postgres with TLS, as a hot standby, in other versions; Dagster with its daemon, cancelled in every phase
	@$(BIN)/pytest -m servers

test-ui: $(INSTALLED) ## use the UI as an operator does, in a real browser; keeps pictures (needs Chromium)
	@$(BIN)/pytest -m browser tests/end_to_end --screenshots .screenshots

test-compose: $(INSTALLED) ## build the image, bring the compose project up and replicate inside; loads in containers (needs Docker)
	@docker build --quiet --tag replication-code-location .
	@$(BIN)/pytest -m compose tests

benchmark: $(INSTALLED) ## 5 million rows against psql's \copy, merges, memory; writes docs/benchmarks.md
	@$(BIN)/python -m benchmarks

benchmark-peers: $(INSTALLED) ## the same rows with dlt, Sling, DuckDB's extension and adbc_ingest beside ours
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-peers
	@$(BIN)/uv pip sync --quiet --require-hashes --python .venv-peers/bin/python benchmarks/peers/requirements.lock
	@$(BIN)/python -m benchmarks peers

# the releases before the one in the lock that are supported
DUCKDB ?= 1.4.4 1.5.5

test-duckdb: $(INSTALLED) ## the engine's tests with older DuckDBs, each in an environment on top of .venv
	@for version in $(DUCKDB); do \
		$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-duckdb/$$version \
		&& $(BIN)/uv pip install --quiet --no-deps --python .venv-duckdb/$$version/bin/python duckdb==$$version \
		&& $(BIN)/python -c 'import site; print(site.getsitepackages()[0])' \
			> "$$(.venv-duckdb/$$version/bin/python -c 'import site; print(site.getsitepackages()[0])')/on-top-of.pth" \
		&& echo "DuckDB $$version" && .venv-duckdb/$$version/bin/python -m pytest tests/replication $(ARGS) || exit 1; \
	done

coverage: $(INSTALLED) ## which lines of the engine its tests reach; processes that they start count too
	@$(BIN)/pytest -n 2 --dist loadfile --max-worker-restart 1 tests/replication tests/replication_cli --cov=code_location/replication \
		--cov-report=term-missing:skip-covered --cov-report=markdown:.coverage.md
	@echo "Written to .coverage.md as well"

lint: $(INSTALLED) ## ruff and mypy --strict
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: $(INSTALLED) ## format the code
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: $(INSTALLED) ## resolve pyproject.toml into the lock files anew
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--extra service --output-file requirements.lock pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--all-extras --constraints requirements.lock --output-file requirements-dev.lock pyproject.toml

clean: ## remove the environment and what the demo left
	rm -rf .venv .venv-duckdb .venv-peers .demo .screenshots .coverage .coverage.md
