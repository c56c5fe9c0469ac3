# Everything works from nothing: each target makes the virtual environment it needs first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quickstart test unit check fix bench chaos fuzz oracle install trainer clean

quickstart: trainer  ## train a small replay-ratio ablation and draw it
	$(BIN)/dreamsweep run experiment=quickstart

test: trainer  ## the whole test suite, with real Ray and the real trainer
	$(BIN)/python -m pytest

unit: install  ## the fast part: no Ray, no trainer
	$(BIN)/python -m pytest -m "not ray and not trainer"

check: install  ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: install  ## mend what lint can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: trainer  ## time us beside our peers; prints ratios
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks

chaos: trainer  ## kill things at random under a sweep on several nodes, 200 times; and a learning DreamerV3 four times
	$(BIN)/python tests/orchestrator/chaos.py --kills 200 --episodes 900
	$(BIN)/python tests/orchestrator/killed_dreamerv3.py

fuzz: install  ## a million mutated log lines through the reader
	PYTHONPATH=. $(BIN)/python tests/aggregation/fuzz_reader.py 1000000

oracle: .venv-oracle/.installed  ## our statistics beside rliable's, which lives in a virtual environment of its own
	PYTHONPATH=. .venv-oracle/bin/python tests/aggregation/oracle_rliable.py
.venv-oracle/.installed: constraints-oracle.txt
	$(PYTHON) -m venv .venv-oracle
	.venv-oracle/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-oracle.txt rliable
	@touch $@

install: $(VENV)/.installed
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "dreamsweep needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Set PYTHON=/path/to/python3.11." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned dependencies into $(VENV) (a minute or two) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[trainer,dev]'
	@touch $@

trainer: install
	$(BIN)/dreamsweep trainer install

clean:  ## remove the virtual environments and all caches; results/ stays
	rm -rf $(VENV) .venv-oracle .pytest_cache .mypy_cache .ruff_cache .hypothesis
