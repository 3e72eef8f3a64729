# Every target sets up what it needs in .venv: a fresh machine with Python 3.11 and make is enough, and no root.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test test-all lint bench clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/headway demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -m "not slow" --hypothesis-profile=fixed

test-all: lint
	$(BIN)/pytest

# Every script in benchmarks/ is one; make bench-NAME runs it alone.
bench: $(patsubst benchmarks/%.py,bench-%,$(sort $(wildcard benchmarks/[a-z]*.py)))

bench-%: install
	$(BIN)/python benchmarks/$*.py $(if $(filter extract,$*),--memory)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
