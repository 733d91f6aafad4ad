# Two commands for a newcomer: `make demo` and `make test`. Each makes a virtual environment if there is
# none, installs the tested versions, and does its job.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint types unit doctest build benchmarks clean

demo: $(READY)
	$(BIN)/a2m2 demo --out demo

test: lint types unit doctest

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/pytest -q

# The docstrings' examples and the README's.
doctest: $(READY)
	$(BIN)/pytest -q --doctest-modules a2m2_zoo

build: $(READY)
	$(BIN)/python -m build

benchmarks: $(READY)
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

$(READY): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache
