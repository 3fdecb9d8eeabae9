# `make demo` and `make test` need only Python 3.11 or later; both make .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
RUNS ?= runs
BENCHMARKS := $(filter-out %/__init__.py,$(wildcard benchmarks/stores/*.py)) \
	$(patsubst %,benchmarks/models/%.py,table real_table order scenes study departments train_speed) \
	$(patsubst %,benchmarks/serving/%.py,value_plane latency live gpu_live profile_against_live quick_world two_gpus) \
	benchmarks/inference/coverage.py benchmarks/inference/faults.py benchmarks/paper/__main__.py benchmarks/dashboard/load.py \
	$(filter-out %/__init__.py %/one_cell.py,$(wildcard benchmarks/simulation/*.py))
HARNESS := benchmarks/stores/harness
RIVALS := $(HARNESS)/build/rocks $(HARNESS)/build/blocks.so

.PHONY: demo dash real test test-slow crash crash-nightly fuzz mutate check docs bench bench-deps bench-page clean
.DELETE_ON_ERROR:

demo: $(STAMPS)/install
	$(BIN)/laser-ab demo

dash: $(STAMPS)/install
	$(BIN)/laser-ab dash $(RUNS)

# Public sets, each imported, calibrated and, where it has exposures, run: make real REAL_DATA=FOLDER (which holds a
# folder for each, such as kuairand-pure). The project ships none; without REAL_DATA nothing is done. What was found goes to
# RUNS/real.json, and the same command again does what is missing there.
real: $(STAMPS)/install
	LASER_AB_REAL_DATA=$(REAL_DATA) $(BIN)/python benchmarks/simulation/real_sets.py --out $(RUNS)/real.json

# By file, on all cores: fixtures of a file are made once, and its tests stay in their order.
test: $(STAMPS)/dev
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

test-slow: $(STAMPS)/dev
	$(BIN)/pytest -m slow

# What the store promises, held to it: kills, loss of power, damage, failing devices (under ten minutes).
crash: $(STAMPS)/dev
	SEQVAULT_CRASH=full $(BIN)/pytest tests/seqvault/crash --deselect tests/seqvault/crash/test_format_fuzz.py

crash-nightly: $(STAMPS)/dev
	SEQVAULT_CRASH=nightly $(BIN)/pytest tests/seqvault/crash

# Malformed files with valid checksums, about a minute of them.
fuzz: $(STAMPS)/dev
	SEQVAULT_CRASH=full $(BIN)/pytest tests/seqvault/crash/test_format_fuzz.py

# Would the store's tests notice? Breaks one promise after the other in a copy; under fifteen minutes.
mutate: $(STAMPS)/dev
	$(BIN)/python tests/seqvault/mutate.py

check: $(STAMPS)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_imports.py tests/test_rooms.py tests/test_docs.py

# The pages and tables that are read from the code; a test refuses stale ones.
docs: $(STAMPS)/install
	$(BIN)/python -m docs.generate

# The quick form of every benchmark; each prints the bars it falls short of.
bench: $(STAMPS)/install
	@set -e; for script in $(BENCHMARKS); do \
		echo "== $$script"; $(BIN)/python $$script --quick; \
	done

# RocksDB and LMDB in C++, the rivals of the store's benchmarks; without them their rows say so.
bench-deps: $(RIVALS)

$(RIVALS) &: $(wildcard $(HARNESS)/*.cpp $(HARNESS)/*.h)
	@test -e /usr/include/rocksdb/db.h -a -e /usr/include/lmdb.h || \
		$$(test $$(id -u) = 0 || echo sudo) apt-get install -y librocksdb-dev liblmdb-dev g++
	@mkdir -p $(HARNESS)/build
	g++ -std=c++17 -O3 -march=native -Wall -Wextra -o $(HARNESS)/build/rocks $(HARNESS)/rocks.cpp -lrocksdb
	g++ -std=c++17 -O3 -march=native -Wall -Wextra -shared -fPIC -o $(HARNESS)/build/blocks.so \
		$(HARNESS)/blocks.cpp -lrocksdb -llmdb

# All pages made from the results saved in benchmarks/results: docs/store-benchmarks.md, docs/model-table.md,
# docs/paper.md, docs/complete-journey.md, and docs/model-study.md with its plots and its lines of README.md.
bench-page: $(STAMPS)/report
	$(BIN)/python benchmarks/pages/stores.py
	$(BIN)/python benchmarks/pages/models.py
	$(BIN)/python benchmarks/pages/study.py
	$(BIN)/python benchmarks/pages/serving.py
	$(BIN)/python benchmarks/pages/certificate.py
	$(BIN)/python benchmarks/pages/wrong.py
	$(BIN)/python benchmarks/pages/world.py
	$(BIN)/python benchmarks/pages/resemblance.py
	$(BIN)/python benchmarks/pages/paper.py
	$(BIN)/python benchmarks/pages/journey.py

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

$(STAMPS)/report: pyproject.toml $(STAMPS)/install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[report]"
	@touch $@

clean:
	rm -rf $(VENV) $(STAMPS)
