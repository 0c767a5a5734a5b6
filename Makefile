# The two commands of the README are `make demo` and `make test`; both need only Python 3.11 or later and make.

PYTHON ?= python3
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# One worker per core, for two cores; each test uses one thread.
WORKERS ?= 2

.PHONY: demo test coverage slow variations lint format reference clean

demo: $(VENV)/installed
	$(VENV)/bin/crossmod demo --out demo

# `worksteal` keeps the tests of a file together, so that their shared fixtures are built once.
PYTEST = $(VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal --durations 20

# COVERAGE=yes also measures the coverage of src, with branches and subprocesses; pyproject.toml sets the minimum.
COVERAGE ?=
MEASURE = --cov=crossmod --cov-branch --cov-report=term:skip-covered

test: lint
	$(PYTEST) $(if $(COVERAGE),$(MEASURE))

coverage: $(VENV)/installed-dev
	$(PYTEST) $(MEASURE)

# The tests that `make test` skips because they take long; about twenty minutes.
slow: $(VENV)/installed-dev
	$(PYTEST) -m slow

# The tests under the conditions of other machines; takes hours. A selection: make variations NAMES="strict tr_TR.UTF-8".
variations: $(VENV)/installed-dev
	PATH="$(abspath $(VENV))/bin:$$PATH" benchmarks/variations.sh $(NAMES)

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/pyright --threads $(WORKERS) --pythonpath $(VENV)/bin/python
	$(VENV)/bin/lint-imports

format: $(VENV)/installed-dev
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	# Install torch first and separately, so that the next command finds it and does not select another build.
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) -e '.[dev]'
	touch $@

# The reference pages, from the docstrings.
reference: $(VENV)/installed-dev
	$(VENV)/bin/python docs/build_reference.py

clean:
	rm -rf $(VENV) demo
