# Two commands on a fresh machine: `make demo` and `make test`. `make check` is what CI runs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
ROOMS  := __init__.py model proto storage plugins daemon collector cli simulator tests bench

.PHONY: demo test check seeds faults bench bench-tick proto format clean

demo: $(READY)
	$(BIN)/gputally demo

test: $(READY)
	$(BIN)/pytest -n 2 --dist worksteal $(TESTS)

# `make seeds SEEDS=1000`: the daemon in simulated time, see docs/simulation.md.
SEEDS ?= 100
FIRST ?= 1
seeds: $(READY)
	$(BIN)/gputally simulate seeds --seeds $(SEEDS) --first $(FIRST)

# The fault suite at length, docs/faults.md; `make faults SCALE=0.01` for a quick one, KINDS="powercut states" for some.
SCALE ?= 1
faults: $(READY)
	$(BIN)/python -m tests.faults --scale $(SCALE) $(KINDS)

check: $(READY)
	$(BIN)/ruff format --check $(ROOMS)
	$(BIN)/ruff check $(ROOMS)
	$(BIN)/mypy
	$(BIN)/mypy tests bench
	$(BIN)/pyright
	$(BIN)/pytest -q tests/test_floors.py
	$(BIN)/python proto/generate.py --check
	$(MAKE) test

bench: $(READY)
	@for file in bench/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

bench-tick: $(READY)
	$(BIN)/python bench/bench_tick.py

proto: $(READY)
	$(BIN)/python proto/generate.py

format: $(READY)
	$(BIN)/ruff format $(ROOMS)
	$(BIN)/ruff check --fix $(ROOMS)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
