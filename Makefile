# Everything that a fresh machine needs: Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := outputs/demo

.PHONY: fuzz help demo test test-fast lint bench clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.run ## install, train a detector on the rendered sample, show its report (4 to 10 minutes)
	rm -rf $(RUN)
	$(BIN)/python train.py experiment=demo name=demo
	$(BIN)/dfd-report $(RUN)

test: $(VENV)/.dev lint ## install, lint, and run every test
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=40

test-fast: $(VENV)/.dev ## the tests that take seconds
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

lint: $(VENV)/.dev ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: $(VENV)/.dev ## hostile media, checkpoints and folders, kills at random moments; many examples (for a nightly run)
	FUZZ_EXAMPLES=20000 KILLS=10 $(BIN)/python -m pytest tests/hostile tests/inference tests/cli/test_interrupted.py tests/serving/test_kill.py

bench: $(VENV)/.dev ## measure what costs time, against the floor (about 15 minutes)
	$(BIN)/python scripts/bench.py

clean: ## remove the virtual environment; data and outputs stay
	rm -rf $(VENV)

$(VENV)/.run: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dfd needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@
