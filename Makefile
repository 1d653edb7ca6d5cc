# Outpost: what a person, a CI job and a newcomer call. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin
PY := $(BIN)/python
PYTEST_FLAGS ?= -n 3 --dist loadfile --no-loadscope-reorder
ONESHOT ?=
URL ?= http://127.0.0.1:8000

.DEFAULT_GOAL := help
.PHONY: help setup lock test check demo faults bench load rollout-sim screenshots docs clean distclean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv and .tools (MicroPython VMs, mosquitto); does nothing when they are there
	@$(PYTHON) host_tools/bootstrap.py $(SETUP_FLAGS)

test: setup ## Run every test, on CPython and on the MicroPython VMs
	@$(PY) -m pytest $(PYTEST_FLAGS) $(ARGS)

check: setup ## Lint, types, layers, budgets, documents; under a minute
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(PY) -m pytest -q tests/host/test_layers.py tests/host/test_budget.py tests/host/test_docs.py

demo: setup ## Play the whole story with simulated boards (ONESHOT=1: check it and stop)
	@$(BIN)/outpost demo $(if $(ONESHOT),--oneshot)

faults: setup ## The exhaustive power-cut sweeps
	@$(PY) -m tests.faults $(ARGS)

bench: setup ## Measure the hot paths
	@$(PY) -m tests.bench $(ARGS)

load: setup ## Load the fleet server with many light devices
	@$(PY) -m tests.bench.load $(ARGS)

rollout-sim: setup ## Simulate rollouts over large fleets in virtual time
	@$(PY) -m tests.bench.rollout_sim $(ARGS)

screenshots: setup ## Render the demo's pages to docs/images with chromium
	@$(PY) -m tests.screenshots --base $(URL) $(ARGS)

docs: setup ## Write the generated parts of docs/reference
	@$(PY) -m outpost.cli.reference

lock: setup ## Write requirements.lock from what .venv holds
	@$(PY) host_tools/lock.py

clean: ## Remove what builds and tests leave behind
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name .venv -prune -o -name .tools -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

distclean: clean ## clean, and the tools and the virtual environment as well
	@rm -rf .venv .tools
