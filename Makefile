# What people run here. Everything is set up in .venv on first use; nothing outside this folder changes,
# but for PROGRAMS, which `make test` installs with apt-get when it runs as root and one lacks.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
TORCH := $(shell sed -n 's/.*"\(torch==[0-9.]*\)".*/\1/p' pyproject.toml)
PROTOS := $(wildcard serving/proto/*.proto)

.PHONY: help demo test check bench proto docs lock setup locked programs bigquery clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: setup  ## sample catalogue -> searchable, then page, API and Dagster UI stay up (ARGS="--products 300")
	$(BIN)/imgsearch demo $(ARGS)

# Two files at once, those that take long first: much of the time is waiting for processes.
test: setup programs bigquery  ## every test
	$(BIN)/python -m pytest --numprocesses 2 --no-loadscope-reorder $(ARGS)

check: setup  ## format, lint, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## every benchmark; each prints a table and one JSON line
	$(BIN)/imgsearch bench $(ARGS)

proto: setup  ## gRPC stubs from serving/proto/*.proto
	$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --grpc_python_out=. --mypy_out=quiet:. \
	  --mypy_grpc_out=quiet:. --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
	  --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc $(PROTOS)

docs: setup  ## docs/settings.md, tables of docs/capacity.md (ARGS="--picture STREET.jpg": and the pictures, from a running demo)
	$(BIN)/python docs/generate.py $(ARGS)

lock: setup  ## requirements.lock, and k8s/images/gpu.lock of what a GPU adds, from pyproject.toml
	$(BIN)/uv pip compile --upgrade --quiet --universal --generate-hashes --no-emit-package torch --no-annotate \
	  --no-header --python-version 3.11 --extra dev --extra backbones --extra train --extra gcp --extra k8s --extra milvus --extra postgres pyproject.toml -o requirements.lock
	{ echo "$(TORCH)"; sed -n 's/^gpu = \["\(.*\)"\].*/\1/p' pyproject.toml; } | $(BIN)/uv pip compile --no-config --upgrade --quiet \
	  --generate-hashes --no-annotate --no-header --python-version 3.11 --python-platform x86_64-manylinux_2_28 -c requirements.lock \
	  $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements.lock) --no-emit-package torch -o k8s/images/gpu.lock -

setup: .venv/.ready

# All but torch, exactly as locked, with hashes: what releases by hand or from a workflow needs.
locked: .venv/.locked

.venv/.locked: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Set PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv .venv \
	  || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# torch by version only: which build is right (CPU or CUDA) depends on the machine and on the index pip was told to use.
# What it needs itself is in the lock.
.venv/.ready: .venv/.locked
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	@touch $@

# What tests run that no wheel has: the browser that shows the page, what reads the rules of alerts, a Redis with TLS; for
# root alone, what builds and plays images. Nothing of it is started: a runlevel of 1 says so to Debian's packages.
PROGRAMS := chromium promtool amtool redis-server h2load envsubst
PACKAGES := chromium prometheus prometheus-alertmanager redis-server nghttp2-client gettext-base
ifeq ($(shell id -u),0)
PROGRAMS += podman runc debootstrap catatonit iptables
PACKAGES += podman runc debootstrap catatonit iptables containernetworking-plugins netavark aardvark-dns
endif
programs:
	@for each in $(PROGRAMS); do PATH="$$PATH:/usr/sbin" command -v $$each >/dev/null || lacking="$$lacking $$each"; done; \
	  if [ -z "$$lacking" ]; then exit 0; fi; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && RUNLEVEL=1 \
	    apt-get install -y -qq --no-install-recommends $(PACKAGES); \
	  else echo "The tests need$$lacking; install them first (Debian: sudo apt-get install $(PACKAGES))"; exit 1; fi

bigquery: .venv-bigquery/.ready

# BigQuery's emulator needs a Python that Debian 12 has not: pyenv's where there is one, else uv downloads it.
# Its DuckDB's extensions are wheels too, and are installed into a home of its own, so that nothing is fetched.
.venv-bigquery/.ready: .venv/.ready tests/bigquery-emulator.txt
	@python="$$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[3-9]*/bin/python3 2>/dev/null | tail -1)"; \
	$(BIN)/uv venv --quiet --clear --python "$${python:-3.13}" .venv-bigquery \
	  || { echo "BigQuery's emulator needs Python 3.13 or newer; put one into PATH"; exit 1; }
	$(BIN)/uv pip install --quiet --no-deps --require-hashes --python .venv-bigquery/bin/python -r tests/bigquery-emulator.txt
	mkdir -p .venv-bigquery/home
	HOME=$(CURDIR)/.venv-bigquery/home .venv-bigquery/bin/python -c "from duckdb_extensions import import_extension as get; \
	  [get(name) for name in ('icu', 'ducklake', 'spatial')]" >/dev/null
	@touch $@

clean:  ## remove the environment and everything the demo keeps
	rm -rf .venv .venv-bigquery .imgsearch build *.egg-info
