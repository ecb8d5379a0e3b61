# What a person types. Every target makes the environment it needs by itself, once.
#
#   make demo     six stores with planted drift, audited, corrected and audited again
#   make test     the tests, but for the long ones
#   make test-all the tests and the long ones
#   make check    ruff, mypy, import-linter, and the tests unless they passed on this very tree already
#   make ui       Dagster's web server and daemon on this project
#   make lock     resolve requirements.in anew

PYTHON ?= python3
# How many processes share the tests; each has a PostgreSQL of its own.
WORKERS ?= 2
BIN := .venv/bin
READY := .venv/.ready
TESTED := .venv/.tested
PYTEST := $(BIN)/pytest -n $(WORKERS) --dist worksteal
CODE := $(shell find trueup assets checks pipelines tests -type f -not -path '*/__pycache__/*' 2>/dev/null)

.PHONY: setup demo test test-all lint check ui lock clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY)
	$(BIN)/trueup demo

# `make test` always runs them; `make check` runs them when a file has changed since they last passed.
test: $(READY)
	$(PYTEST)
	touch $(TESTED)

test-all: $(READY)
	$(PYTEST) -m "not soak"
	touch $(TESTED)

$(TESTED): $(READY) $(CODE) pyproject.toml
	$(PYTEST)
	touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint $(TESTED)

ui: $(READY)
	$(BIN)/trueup ui

lock: $(READY)
	$(PYTHON) -m venv build/uv
	build/uv/bin/pip install --quiet --disable-pip-version-check uv
	build/uv/bin/uv pip compile --universal --generate-hashes --no-emit-index-url --no-strip-extras --python-version 3.11 \
		--quiet --no-header --output-file requirements.lock requirements.in

clean:
	rm -rf .venv build .mypy_cache .ruff_cache
