# Two commands for a newcomer: `make demo` and `make test`. Each makes a virtual environment if there is
# none, installs the tested versions, and does its job.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := $(VENV)/.demo

# Bytecode is kept, whatever the shell says: the tests start many a Python.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo quick test lint types unit doctest hub-range package benchmarks clean
.PHONY: docs docs-links figures pictures

.PHONY: setup
setup: $(READY)

demo: $(DEMO)
	rm -rf demo
	$(BIN)/a2m2 demo --out demo

# The tests last: their end says what was skipped and why.
test: lint types doctest unit

# What is worth running after every change, in a minute and a half; `make test` is what counts.
QUICK := tests/ops tests/methods/blocks tests/_utils tests/data/test_index.py tests/data/test_plans.py tests/evaluation/test_statistics.py \
	tests/methods/test_contract.py tests/methods/test_methods.py tests/video/test_video_sample.py tests/test_imports.py \
	tests/recognition/test_calibration.py tests/recognition/test_episode.py tests/hub/test_manifest.py \
	tests/test_project_files.py tests/training/test_training_config.py
quick: lint types
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist loadfile $(QUICK)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# Programs beside the package: their calls into it are checked; what other libraries leave untyped is let pass.
# Two runs with other options, so each keeps its own cache.
SCRIPTS := --cache-dir .mypy_cache/scripts --allow-untyped-calls --no-warn-return-any --no-warn-unused-ignores --disable-error-code misc benchmarks tools tests/typed_calls.py
types: $(READY)
	$(BIN)/mypy
	$(BIN)/mypy $(SCRIPTS)

# About one process per core, each computing on one; what a file's tests share stays in one process. How many, and
# the order, long files first, say tests/conftest.py and tests/order.py.
unit: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist loadfile --no-loadscope-reorder

# The docstrings' examples; the README's run among the tests.
doctest: $(READY)
	$(BIN)/pytest -q --doctest-modules a2m2_zoo

# The site, in build/docs; a warning is an error. Links inside it are checked on the way.
docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -n -q -b html -d build/doctrees docs build/docs

# Links that lead out of the site; needs the network.
docs-links: $(READY)
	$(BIN)/sphinx-build -W --keep-going -q -b linkcheck -d build/doctrees docs build/links

# The figures of README.md and docs/, written from the receipts.
figures: $(READY)
	$(BIN)/python tools/figures.py

# The pictures of docs/ and what the notebook shows; needs chromium, and the extras app and archive.
pictures: $(READY)
	$(BIN)/python tools/pictures.py

# Fetching with the oldest huggingface_hub that setup.cfg allows; `make unit` has the newest tested one.
hub-range: $(READY)
	$(BIN)/python tools/check_hub_range.py

# A wheel and an sdist, the wheel installed where nothing else is, and the demo run from it.
package: $(READY)
	rm -rf build dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python tools/check_package.py dist --constraint constraints.txt

benchmarks: $(READY)
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

$(READY): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python tools/install.py --compile-bytecode --constraint constraints.txt --editable ".[dev]"
	touch $@

# What the demo needs and no more; the tools for development come with `make setup`.
$(DEMO): setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	test -e $(READY) || $(BIN)/python tools/install.py --constraint constraints.txt --editable ".[pictures]"
	touch $@

clean:
	rm -rf build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache
