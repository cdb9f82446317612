# `make run` runs the benchmark, `make test` all tests. Both make the environment first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
# Runs a command without what the shell's environment would change in its results.
CLEAN := $(PYTHON) -I src/exatrkx_service/environment.py
SNAKEMAKE := $(CLEAN) $(BIN)/snakemake
PIP := $(CLEAN) $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := $(CLEAN) $(BIN)/python -m pytest
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run smoke gpu test test-runs test-slurm test-units lint format clean help

run: $(STAMP)  ## the default benchmark: 100 events, S0 to S5 (CPU: under 15 minutes)
	@$(SNAKEMAKE) --cores all --quiet host reason
	@$(CLEAN) $(BIN)/python -P -m exatrkx_service.analysis.table config/config.yaml

smoke: $(STAMP)  ## the same workflow on 5 events (about 2 minutes)
	@$(SNAKEMAKE) --cores all --quiet host reason --configfile config/smoke.yaml
	@$(CLEAN) $(BIN)/python -P -m exatrkx_service.analysis.table config/config.yaml config/smoke.yaml

gpu: $(STAMP)  ## on a machine with a GPU: its tests, S0 to S5, and requests with several events (10 minutes)
	@$(PYTEST) tests/unit/pipeline/test_gpu.py
	@$(SNAKEMAKE) --cores all --quiet host reason --configfile config/gpu.yaml -- aggregate study_batch
	@$(CLEAN) $(BIN)/python -P -m exatrkx_service.analysis.table config/config.yaml config/gpu.yaml

# Two at a time: those on a cluster mostly wait for it.
test: $(STAMP)  ## all tests, with those of format and lint
	@$(MAKE) --no-print-directory --jobs 2 --keep-going test-runs test-slurm test-units

test-runs: $(STAMP)  ## tests that run the workflow here
	@$(PYTEST) tests/browser tests/hostile tests/workflow

test-slurm: $(STAMP)  ## tests on a real Slurm, which they bring up here; as root, see README
	@$(PYTEST) tests/slurm

test-units: $(STAMP)  ## tests of the package and of single steps, format and lint: minutes
	@$(PYTEST) tests/unit tests/test_lint.py tests/steps

lint: $(STAMP)  ## format and lint alone
	@$(PYTEST) tests/test_lint.py

format: $(STAMP)  ## put the code in form
	@$(BIN)/ruff check --fix --quiet . && $(BIN)/ruff format --quiet .
	@$(BIN)/snakefmt Snakefile workflow

# The stamp is the last thing made, so an installation that was interrupted is done again.
$(STAMP): requirements.lock requirements-no-deps.lock pyproject.toml
	@$(PYTHON) -I tools/check_host.py
	@rm -f $(STAMP)
	@{ $(BIN)/python -I tools/check_host.py && $(BIN)/python -I -m pip --version; } >/dev/null 2>&1 \
		|| $(CLEAN) $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the environment in $(VENV) (some minutes)"
	@$(PIP) --requirement requirements.lock
	@$(PIP) --no-deps --no-build-isolation --requirement requirements-no-deps.lock --editable .
	@$(CLEAN) $(BIN)/python tools/check_installed.py requirements.lock requirements-no-deps.lock
	@touch $(STAMP)

clean:  ## remove what was generated: results, exported networks, caches; not the environment
	rm -rf .snakemake .pytest_cache .ruff_cache .hypothesis
	find results -mindepth 1 ! -name README.md -delete
	rm -f model_repo/*/1/model.pt

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10
