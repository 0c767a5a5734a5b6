# The two commands of the README are `make demo` and `make test`; both set themselves up with Python 3.11 and make alone.

PYTHON ?= python3
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Two cores: one worker a core; tests run one thread each.
WORKERS ?= 2

.PHONY: demo test slow variations lint format reference clean

demo: $(VENV)/installed
	$(VENV)/bin/crossmod demo --out demo

# Neighbours stay together, so that what a file's tests share is made once.
PYTEST = $(VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal --durations 20

test: lint
	$(PYTEST)

# What `make test` leaves out for its length; some twenty minutes.
slow: $(VENV)/installed-dev
	$(PYTEST) -m slow

# The tests as other machines would run them; hours. Some: make variations NAMES="strict tr_TR.UTF-8".
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
	# torch comes first and alone: what follows then finds it there and brings no other build.
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
