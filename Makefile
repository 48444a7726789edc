# Two commands on a fresh machine with Python >= 3.10: `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?= -n auto --maxprocesses 4
# One thread a test process: tests run side by side, and their tensors are small.
THREADS ?= 1
PYTEST := OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest

.PHONY: install quickstart pages docs test test-fast test-slow lint clean

install: $(VENV)/.installed

# The packages are installed when set-up files change; the sources themselves are linked (-e).
$(VENV)/.installed: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "installing the package and what it needs (torch is several GB on Linux; a few minutes the first time)"
	$(BIN)/python -m pip install --quiet -e ".[test]"
	touch $@

quickstart: install
	$(BIN)/cakd quickstart

# The pages that come from the code, as docs/ has them.
pages: install
	$(BIN)/python -m docs.generator

# Searching the site needs a server: `python3 -m http.server -d site`.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test-fast: install
	$(PYTEST) -m "not slow and not gpu" $(PYTEST_ARGS)

test-slow: install
	$(PYTEST) -m "slow and not gpu" $(PYTEST_ARGS)

test: lint test-fast test-slow

clean:
	rm -rf $(VENV) build dist site *.egg-info
