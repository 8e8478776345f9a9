# Each target sets itself up. Needed on the machine: make, python3 >= 3.11 with venv, cargo, a C
# compiler. Everything else is installed into .venv by these rules.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
URLS ?=
# --no-run builds the tests only.
RUST_TEST ?=

# An activated environment of the user's is left alone.
export VIRTUAL_ENV := $(abspath $(VENV))
unexport CONDA_PREFIX PYTHONPATH PYTHONHOME

RUST := $(shell find src -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock
# The wheel's build is `release`; `quick` is the same code without link-time optimisation.
PROFILE ?= quick

.PHONY: demo test lint rust-test python-test bench docs wheel clean help

help:
	@echo "make demo [URLS='https://… http://…']   the stories on an embedded server, or your URLs"
	@echo "make test                               all tests and lints"
	@echo "make lint | bench | docs | wheel | clean"

demo: $(VENV)/.built
	@$(BIN)/python -m offloop demo $(URLS)

test: lint rust-test python-test

rust-test:
	cargo test --locked --workspace --exclude offloop-py --exclude reqwest-loop $(RUST_TEST)

python-test: $(VENV)/.built
	$(BIN)/python -m pytest

lint: $(VENV)/.built
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest offloop._offloop --allowlist tests/typing/stubtest.txt
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

# Compares with what other packages do; needs nginx (Debian: apt-get install nginx-light).
bench: $(VENV)/.bench
	$(MAKE) PROFILE=release $(VENV)/.released
	cargo build --locked --release -p reqwest-loop
	$(BIN)/python benches/run.py $(BENCH)

# The site, strictly: a link that leads nowhere is an error. Its code is run by tests/docs.
docs: $(VENV)/.docs $(VENV)/.built
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: $(VENV)/.tools
	$(BIN)/maturin build --release --strip --out dist

clean:
	rm -rf $(VENV) target dist site python/offloop/*.so

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "offloop needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.tools: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install -q --upgrade 'pip>=25.1' 'maturin>=1.11,<2'
	$(BIN)/python -m pip install -q --group test --group lint
	@touch $@

$(VENV)/.built: $(VENV)/.tools $(RUST)
	$(BIN)/maturin develop -q --profile $(PROFILE)
	@rm -f $(VENV)/.released
	@touch $@

$(VENV)/.released: $(VENV)/.tools $(RUST)
	$(BIN)/maturin develop -q --release
	@touch $(VENV)/.built $@

$(VENV)/.bench: $(VENV)/.tools
	$(BIN)/python -m pip install -q --group bench
	@touch $@

$(VENV)/.docs: $(VENV)/.tools
	$(BIN)/python -m pip install -q --group docs
	@touch $@
