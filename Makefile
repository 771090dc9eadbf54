# Every target sets itself up: `make demo` or `make test` works on a fresh clone.
PYTHON ?= python3
WORKERS ?= 3
BIN := .venv/bin
READY := .venv/.installed
# The oldest Python that a robot may have, empty where there is none: a shim of pyenv may be on PATH
# and not run, while pyenv has it all the same.
PYTHON_NODE ?= $(shell for python in python3.10 \
	"$$(pyenv root 2>/dev/null)"/versions/3.10.*/bin/python3.10; do \
	"$$python" -c "" 2>/dev/null && echo "$$python" && break; done)
NODE_BIN := .venv-node/bin
NODE_READY := .venv-node/.installed
DEMO := runs/demo

.DEFAULT_GOAL := help
.PHONY: help setup demo play test test-all test-kernels test-web test-node test-the-node lint bench clean

help: ## print this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' \
		| awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

setup: $(READY) ## make .venv and install everything into it, at the tested versions

$(READY): pyproject.toml constraints.txt
	@echo "== Setting up .venv (only the first time, and when the dependencies change)"
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("make setup needs Python 3.11 or newer, and $(PYTHON) is %d.%d: make setup PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[train,dev]"
	@touch $@

demo: $(READY) ## train a Go2, score it, export it, run it in the node, film it (about ten minutes)
	@echo "== 1/6 Training a Go2 to walk, from nothing"
	$(BIN)/robot-ppo train go2_walk --out $(DEMO) --overwrite
	@echo "== 2/6 How well it walks"
	$(BIN)/robot-ppo eval $(DEMO) --json $(DEMO)/scorecard.json --plot $(DEMO)/scorecard.png --quick
	@echo "== 3/6 One file that holds all that the robot needs"
	$(BIN)/robot-ppo export $(DEMO) -o $(DEMO)/go2_walk.onnx
	@echo "== 4/6 The file proves itself on this machine"
	$(BIN)/robot-ppo-node check $(DEMO)/go2_walk.onnx
	@echo "== 5/6 The node drives a simulated robot in another process"
	@$(BIN)/robot-ppo sim go2 & sim=$$!; \
	trap 'kill $$sim 2>/dev/null; exit 130' INT TERM; \
	$(BIN)/robot-ppo-node run $(DEMO)/go2_walk.onnx --driver udp --arm --command 0.5,0,0 --seconds 10; \
	code=$$?; kill $$sim; wait $$sim; exit $$code
	@echo "== 6/6 A video: $(DEMO)/go2_walk.mp4"
	$(BIN)/robot-ppo play $(DEMO)/go2_walk.onnx --video $(DEMO)/go2_walk.mp4 --plot $(DEMO)/go2_walk.png
	@echo "== Drive it in a browser: $(BIN)/robot-ppo play $(DEMO) --web"

play: $(READY) ## film the shipped policy, without training
	@echo "== Playing the shipped policy: go2_walk.mp4"
	$(BIN)/robot-ppo play tests/golden/go2_walk.onnx --video go2_walk.mp4

# A module's tests stay in one worker, so that what they share is built once; in the order of
# tests/conftest.py. WORKERS: one more than processors, as some wait for a robot in real time.
# What is compiled is kept, whatever the shell says: the tests start two hundred processes.
test: $(READY) ## the fast tests
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# OpenBLAS sums a product of matrices in another order on another processor, and so does torch. Both
# of these kernels run on any x86-64 of the last ten years.
test-kernels: $(READY) ## the tests of equal bits by other kernels of numpy's and torch's libraries
	OPENBLAS_CORETYPE=Haswell ATEN_CPU_CAPABILITY=avx2 $(BIN)/pytest -q -m "numeric and not slow"
	OPENBLAS_CORETYPE=Sandybridge ATEN_CPU_CAPABILITY=default $(BIN)/pytest -q -m "numeric and not slow"

# Skipped, with a sentence, where there is no Chromium (Debian, Ubuntu: apt-get install chromium).
test-web: $(READY) ## the page of `robot-ppo play --web` in a real browser without a window
	$(BIN)/pytest -q -rs -m slow tests/test_web_page.py

# One process: the slow tests learn and measure time, and want the machine to themselves.
test-all: $(READY) ## all tests, the slow ones too
	$(BIN)/pytest -q -m "slow or not slow"

test-node: $(READY) ## the node's tests on Python 3.10, where there is one, without torch and mujoco
	@if [ -n "$(PYTHON_NODE)" ]; then $(MAKE) --no-print-directory test-the-node; \
	else echo "== Skipped the node's tests on Python 3.10: there is none here (PYTHON_NODE=...)"; fi

$(NODE_READY): pyproject.toml constraints.txt
	@echo "== Setting up .venv-node: the install of a robot with DDS, and what its tests need"
	$(PYTHON_NODE) -m venv .venv-node
	$(NODE_BIN)/python -m pip install --quiet -c constraints.txt -e ".[unitree,ros2,gamepad]" \
		pytest pytest-xdist hypothesis onnx
	@touch $@

# Laws that hypothesis checks on many examples say nothing of a Python; they run in `make test`.
test-the-node: $(READY) $(NODE_READY)
	PYTHONPATH=tests $(NODE_BIN)/pytest -p base_install -q -m "not slow and not hypothesis" \
		-n $(WORKERS) --dist loadfile --no-loadscope-reorder
	@echo "== This node and a simulated robot in the workstation's Python, over UDP and DDS"
	$(BIN)/pytest -q -m slow tests/test_base_install.py

lint: $(READY) ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(READY) ## the quick figures of docs/results.md, measured on this machine
	@mkdir -p runs/bench
	@echo "== Environment: steps/s beside the raw engine"
	$(BIN)/python -m benchmarks.speed env --json runs/bench/env.json
	@echo "== Training: steps/s with learning included"
	$(BIN)/python -m benchmarks.speed train --json runs/bench/train.json
	@echo "== Node: tick time, start, memory, CPU"
	$(BIN)/python -m benchmarks.speed node --json runs/bench/node.json

clean: ## remove .venv and .venv-node, caches and build outputs; runs/ stays
	rm -rf .venv .venv-node build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
