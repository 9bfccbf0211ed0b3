# make demo   train on handwritten digits and leave images in runs/digits
# make test   lint, types, import rules, and the default test suite
# make docs   the documentation site, in build/site
# Each creates .venv and installs what it needs; PYTHON=... picks another interpreter (3.11+) for it.
# Beside an old one: make test PYTHON=python3.12 VENV=.venv312

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# uv, where it is there, resolves and installs faster than pip.
UV := $(shell command -v uv 2>/dev/null)
INSTALL := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,\
	$(BIN)/python -m pip install --quiet --disable-pip-version-check)

.PHONY: demo docs test test-slow test-parity coverage lint clean

demo: $(VENV)/installed
	$(BIN)/python train.py --config digits
	$(BIN)/python sample.py --workdir runs/digits --num 100 --out runs/digits/digits.png
	$(BIN)/python sample.py --workdir runs/digits --num 25 --out runs/digits/denoising.gif

# Most of the default suite's time is compilation: programs that run once need no optimisation, nor
# several modules for each of them.
test: export XLA_FLAGS := $(XLA_FLAGS) --xla_backend_optimization_level=0 \
	--xla_cpu_parallel_codegen_split_count=1
test: $(VENV)/installed-test lint
	$(BIN)/python -m pytest -n 2
	$(BIN)/python -m pytest -n 2 --doctest-modules diffax

test-slow: $(VENV)/installed-test
	$(BIN)/python -m pytest -m slow

test-parity: $(VENV)/installed-parity
	$(BIN)/python -m pytest -m parity

coverage: $(VENV)/installed-test
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term

docs: export NO_MKDOCS_2_WARNING := 1
docs: $(VENV)/installed-docs
	$(BIN)/python -m mkdocs build --strict

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "expected Python 3.11 or newer, got $$($(PYTHON) --version); set PYTHON=..."; exit 1; }
	$(if $(UV),$(UV) venv --quiet --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))
	$(if $(UV),,$(INSTALL) --upgrade pip)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/python
	$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-parity: $(VENV)/installed-test
	$(INSTALL) --editable '.[test,parity]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed-test
	$(BIN)/python -m pip install --quiet --editable '.[test,docs]'
	@touch $@

clean:
	rm -rf .venv* build *.egg-info
