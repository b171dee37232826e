# Two commands: `make demo` and `make test`. Each sets up first what it needs. `make test-all` also runs what takes long.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
EXTRA := $(shell if command -v nvidia-smi > /dev/null 2>&1 && nvidia-smi -L > /dev/null 2>&1; then echo gpu; else echo cpu; fi)

# A process that dies or hangs is a failure: with a new one in its place, pytest-xdist 3.8 waits for ever.
GUARD = --max-worker-restart 0 -o faulthandler_timeout=1200 -o faulthandler_exit_on_timeout=true
PYTEST = $(BIN)/python -m pytest -n auto $(GUARD) --dist loadgroup

.PHONY: demo test test-slow test-all test-lowest lint docs bench gpu setup clean

demo: $(VENV)/.installed-demo
	$(BIN)/itae experiment=demo

test: setup lint
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: setup
	$(PYTEST) -m slow $(ARGS)

test-all: setup lint
	$(PYTEST) --fail-slow $(ARGS)

# The quick tests on the lowest versions that pyproject.toml allows; best with PYTHON=python3.11, which has them all.
LOWEST = $(VENV)-lowest
test-lowest:
	$(PYTHON) -m venv $(LOWEST)
	grep -oE '"[a-z0-9-]+>=[0-9.]+' pyproject.toml | sed 's/"//; s/>=/==/' > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet -c $(LOWEST)/constraints.txt "torch" "torchvision"
	$(LOWEST)/bin/python -m pip install --quiet -c $(LOWEST)/constraints.txt -e ".[cpu,dev]"
	$(LOWEST)/bin/python -m pytest -n auto --dist loadgroup -m "not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The manual, into site/. A page or a link that isn't there is an error; nothing is downloaded.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

bench: setup
	$(BIN)/python experiments/bench/run.py $(ARGS)

# The tests that need a GPU and a benchmark of it, from the wheel, without network: with what GPU_PYTHON has (torch with
# CUDA among it) and the wheels in the folder GPU_WHEELS, if it is set. Writes experiments/bench/results_gpu.txt.
GPU_PYTHON ?= $(firstword $(wildcard $(BIN)/python) $(PYTHON))
gpu:
	$(GPU_PYTHON) experiments/bench/gpu_machine.py $(ARGS)

setup: $(VENV)/.installed

# What runs need, and no more. faiss comes by extra, one of two that exclude each other: gpu where there is an NVIDIA GPU,
# else cpu.
$(VENV)/.installed-demo: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14) and "itae needs Python 3.11 to 3.13; set PYTHON, as in make PYTHON=python3.12 demo")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt "torch" "torchvision"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(EXTRA)]"
	touch $@

# What the tests and the manual need beside it.
$(VENV)/.installed: $(VENV)/.installed-demo tests/npm/package-lock.json
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(EXTRA),dev]"
	mkdir -p $(VENV)/npm && cp tests/npm/*.json $(VENV)/npm
	if command -v npm > /dev/null; then npm ci --silent --no-audit --no-fund --prefix $(VENV)/npm; fi
	touch $@

clean:
	rm -rf $(VENV) site outputs/runs outputs/sweeps
