# Every target makes the environment that it needs in .venv, and nothing is done twice: the stamp files below are
# renewed only when pyproject.toml or constraints.txt change. Another Python: make quickstart PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.installed
DEVELOPMENT := .venv/.installed-development
BROWSER := .venv/.installed-browser
DOCUMENTATION := .venv/.installed-docs

# Seconds that a part of the checks may take on a slow machine; one that takes longer is stopped and fails.
LINT_SECONDS ?= 240
TEST_SECONDS ?= 900
TEST_BROWSER_SECONDS ?= 240
TEST_SLOW_SECONDS ?= 1800
GPU_TINY_SECONDS ?= 240
TEST_GPU_SECONDS ?= 600
TEST_FULL_SECONDS ?= 4500
TEST_FUZZ_SECONDS ?= 900
FAMILIES_SECONDS ?= 3600
DOCS_SECONDS ?= 600
WHEEL_SECONDS ?= 600
WITHIN := tools/within.sh
SLOW := $(BIN)/python -m pytest --timeout 1500 --durations 12

PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

BENCH_BIN := .venv-bench/bin
BENCH := .venv-bench/.installed

.DEFAULT_GOAL := help
.PHONY: help quickstart smollm2 check check-rest check-full test test-slow test-full test-browser test-fuzz test-gpu \
	gpu-tiny families docs wheel lint format bench bench-env clean

help:  ## list these targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

quickstart: $(RUNTIME)  ## distil, test and compare small models: the whole loop, in minutes, without a network
	$(BIN)/cotdistill quickstart

smollm2: $(DEVELOPMENT)  ## a real pretrained model on real rationales; COTDISTILL_DATA names the folder of the data
	$(BIN)/cotdistill run recipes/smollm2-svamp/run.yaml

check: test check-rest  ## what CI runs: lint, documentation, the fast, browser and slow tests, the GPU benchmark at toy size; an hour at most

check-rest: lint docs test-browser test-slow gpu-tiny

.NOTPARALLEL:  # make -j would share the budgets out

check-full: $(BROWSER)  ## everything, by hand for each issue; adds a dated line to docs/checks.md
	$(BIN)/python tools/check_full.py lint test test-browser test-full test-fuzz test-gpu gpu-tiny families docs wheel

test: $(DEVELOPMENT)  ## the fast tests
	@$(WITHIN) $@ $(TEST_SECONDS) $(BIN)/python -m pytest

test-browser: $(BROWSER)  ## the report in a headless Chromium (apt install chromium, or CHROMIUM=/path/to/it)
	@$(WITHIN) $@ $(TEST_BROWSER_SECONDS) $(BIN)/python -m pytest -m browser

test-slow: $(DEVELOPMENT)  ## the tests that take longer and are worth it each time, some with real pretrained weights
	@$(WITHIN) $@ $(TEST_SLOW_SECONDS) $(SLOW) -m "slow and not full and not gpu"

test-full: $(DEVELOPMENT)  ## all tests that take longer
	@$(WITHIN) $@ $(TEST_FULL_SECONDS) $(SLOW) -m "slow and not gpu"

test-fuzz: $(DEVELOPMENT)  ## random input for all that reads model output and data files
	@$(WITHIN) $@ $(TEST_FUZZ_SECONDS) $(BIN)/python -m pytest -m fuzz

test-gpu: $(DEVELOPMENT)  ## the tests for a GPU, at toy size where there is none
	@$(WITHIN) $@ $(TEST_GPU_SECONDS) $(BIN)/python -m pytest -m gpu

gpu-tiny: $(DEVELOPMENT)  ## the GPU benchmark at toy size on the CPU
	@mkdir -p build && rm -f build/gpu.jsonl
	@$(WITHIN) $@ $(GPU_TINY_SECONDS) $(BIN)/python benchmarks/gpu.py --device cpu --tiny --out build/gpu.jsonl
	@! grep -E '"status": "failed"|"failed": \["' build/gpu.jsonl

families: $(DEVELOPMENT)  ## every model family against a plain reference; makes docs/families.md
	@$(WITHIN) $@ $(FAMILIES_SECONDS) $(BIN)/python tools/check_families.py

docs: $(DOCUMENTATION)  ## the documentation site in build/site; a dead link, file or command line in it fails
	@$(WITHIN) $@ $(DOCS_SECONDS) sh -c "$(BIN)/python tools/check_docs.py && $(BIN)/python tools/make_site.py"

wheel: $(DEVELOPMENT)  ## the built package, installed and run outside the checkout
	@$(WITHIN) $@ $(WHEEL_SECONDS) $(BIN)/python tools/check_wheel.py

lint: $(DEVELOPMENT)  ## style, import directions and types
	@$(WITHIN) $@ $(LINT_SECONDS) sh -c \
		"$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/pyright"

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
	rm -rf .venv .venv-bench build dist src/*.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis
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

$(DOCUMENTATION): $(DEVELOPMENT)
	$(PIP_INSTALL) -e ".[docs]"
	@touch $@

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
