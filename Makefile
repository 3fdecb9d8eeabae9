# `make demo` and `make test` need only Python 3.11 or later; both make .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
RUNS ?= runs
BENCHMARKS := $(wildcard benchmarks/*.py)

.PHONY: demo dash test test-slow check bench clean
.DELETE_ON_ERROR:

demo: $(STAMPS)/install
	$(BIN)/laser-ab demo

dash: $(STAMPS)/install
	$(BIN)/laser-ab dash $(RUNS)

test: $(STAMPS)/dev
	$(BIN)/pytest

test-slow: $(STAMPS)/dev
	$(BIN)/pytest -m slow

check: $(STAMPS)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_imports.py

# The quick form of every benchmark; each prints the bars it falls short of.
bench: $(STAMPS)/install
	@set -e; for script in $(filter-out benchmarks/_%,$(BENCHMARKS)); do \
		echo "== $$script"; $(BIN)/python $$script --quick; \
	done

# Stamps: a repeated `make demo` does not ask pip again unless pyproject.toml has changed.
$(STAMPS)/venv:
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(STAMPS)/install: pyproject.toml $(STAMPS)/venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(STAMPS)/dev: pyproject.toml $(STAMPS)/install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) $(STAMPS)
