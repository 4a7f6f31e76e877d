# make help lists what there is. Needs Python 3.11 or newer and make; everything else is installed into .venv.

PYTHON ?= python3
PROFILE ?= fashion
SEED ?=
SET ?=
NAME ?=
ARGS ?=
CORES ?= $(shell $(PYTHON) -c "import os; print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())")

BIN = .venv/bin
OPTIONS = --profile $(PROFILE) $(if $(SEED),--seed $(SEED)) $(foreach value,$(SET),--set $(value))
SNAKEMAKE = $(BIN)/snakemake --snakefile Snakefile --cores $(CORES) --scheduler greedy --rerun-triggers params input \
  --rerun-incomplete --nolock --keep-going --quiet rules host reason

# torch's own threads would fight with the jobs that run side by side, and would change sums from machine to machine
export OMP_NUM_THREADS = 1
export PYTHONPATH =

.PHONY: book test notebook clean help

book: .venv/.installed  ## train what is missing, execute the notebooks, render the book (PROFILE=fashion SEED= SET="key=value")
	@$(SNAKEMAKE) --config profile=$(PROFILE) seed=$(SEED) set="$(SET)" \
	  || { echo "Not finished. What is finished is kept: run the same command again to go on."; exit 1; }
	@cat .venv/.installed
	@$(BIN)/python -m sacutils.workflow summary $(OPTIONS)

test: .venv/.tools  ## lint, all notebooks and the strict book under the smoke profile, all tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(MAKE) --no-print-directory book PROFILE=smoke SEED= SET=
	@$(BIN)/python -m pytest

notebook: .venv/.installed  ## execute one notebook with parameters: NAME=05_extraction ARGS="-p key value" (PROFILE= SEED= SET=)
	@$(BIN)/python -m sacutils.workflow notebook "$(NAME)" $(OPTIONS) $(ARGS)

clean:  ## remove everything that was made, except .venv and downloaded data
	rm -rf runs _build .snakemake .pytest_cache .hypothesis .ruff_cache

help:  ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | expand -t 12
	@echo "Profiles: $(basename $(notdir $(wildcard profiles/*.yaml)))"

.venv/.installed: pyproject.toml constraints.txt
	@echo "Installing the pinned packages into .venv (torch is large) ..."
	@test -d .venv || $(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'Python 3.11 or newer is needed, this is ' + sys.version.split()[0])"
	@test -d .venv || $(PYTHON) -m venv .venv
	@start=$$(date +%s); $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable . \
	  && printf 'installation              %8s s\n' $$(( $$(date +%s) - start )) > $@

.venv/.tools: .venv/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@
