# `make mix` and `make test` are the whole set-up: each makes .venv and installs what it needs.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin

.PHONY: mix test test-real test-slow test-lowest check lint types format docs bench clean

mix: $(VENV)/.base
	$(BIN)/curate build-mix --strategy quality_weighted --out mix

test: $(VENV)/.test
	$(BIN)/pytest -n 2 --dist loadgroup

test-real: $(VENV)/.test
	$(BIN)/pytest -n 2 --dist loadgroup -m real

test-slow: $(VENV)/.test
	$(BIN)/pytest -m slow

# The lowest versions that pyproject.toml admits; the generated pages are those of the pinned ones.
test-lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct -e '.[test]'
	.venv-lowest/bin/pytest -n 2 --dist loadgroup --deselect tests/test_docs.py::test_the_generated_pages_are_current

check: lint types

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(VENV)/.test
	$(BIN)/mypy -p caravan
	$(BIN)/mypy tests benchmarks docs

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.test
	$(BIN)/python docs/generate.py

bench: $(VENV)/.test
	$(BIN)/python benchmarks/build_mix.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) mix build src/*.egg-info
