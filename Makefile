# make demo · make test · make bench · make install. PYTHON picks the interpreter that makes .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# -qq: errors alone, no notices and warnings; --no-compile: Python compiles the few modules that are imported when they are,
# not every one of 6 GB at installation, which a third of the time went into
PIP    := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -qq --no-compile
INSTALLING := Installing into $(VENV): about 5 GB with the CUDA libraries of torch, 2 to 15 minutes without further output

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
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip  # older ones do not know --config-settings in requirements.txt

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	@echo "$(INSTALLING)"
	@$(PIP) -r requirements.txt
	@touch $@

# requirements-dev.txt includes requirements.txt
$(VENV)/.installed-dev: requirements-dev.txt requirements.txt | $(VENV)/bin/python
	@echo "$(INSTALLING)"
	@$(PIP) -r requirements-dev.txt
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV)
