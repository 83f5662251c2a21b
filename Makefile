# make demo · make test · make bench · make install. PYTHON picks the interpreter that makes .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test bench install lint types unit clean

demo: $(VENV)/.installed
	$(BIN)/python run_meta.py run --config configs/quickstart.yaml --resume
	$(BIN)/python run_meta.py hard-tasks checkpoints/quickstart --top 10
	$(BIN)/python run_meta.py report checkpoints/quickstart

test: lint types unit

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks

install: $(VENV)/.installed

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/mypy

unit: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile  # a process for each core, of one thread

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV)
