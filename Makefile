# make help lists what there is. Needs Python 3.11 or newer and make; everything else is installed into .venv.
# The same without make: python -m sacbook --help

PYTHON ?= python3
PROFILE ?=
SEED ?=
SET ?=
FULL ?=
TORCH ?=
CORES ?=
EXECUTOR ?=
NAME ?=
A ?=
B ?=
ARGS ?=

# SET goes through the environment, untouched by any shell: values are separated by blanks, and one
# that holds a blank is quoted: SET="data.path='/my images' data.image_size=32"
export SAC_SET = $(SET)
# torch's own threads would fight with the jobs that run side by side, and would change sums from machine to machine
export OMP_NUM_THREADS = 1
export PYTHONPATH =
# a kernel of somebody else's, found there, would run the notebooks
export JUPYTER_PATH =
# pip compiles nothing below; what is not kept then is compiled again by each process that starts
export PYTHONDONTWRITEBYTECODE =

BIN = .venv/bin
PIP = "$(BIN)/python" -m pip install --quiet --no-compile --disable-pip-version-check
SACBOOK = "$(BIN)/python" -m sacbook
OPTIONS = $(if $(PROFILE),--profile "$(PROFILE)") $(if $(SEED),--seed "$(SEED)") $(if $(FULL),--full)
ALONE = $(addprefix tests/,sacbook/test_custom.py sacbook/test_slurm.py sacbook/test_workflow.py sacheck/test_check.py sacheck/test_fingerprint.py)
TESTS = $(ALONE) tests/sacbook tests/sacutils tests/sacheck
INSTALLED = .venv/.installed$(if $(TORCH),-$(TORCH))
$(if $(filter-out cpu,$(TORCH)),$(error TORCH=$(TORCH) is not known; it can be cpu, or left out))
$(if $(filter-out 1,$(FULL)),$(error FULL=$(FULL) is not known; it can be 1, or left out))

.PHONY: book test smoke $(TESTS) cluster notebook compare handouts slides pdf offline benchmarks status torture lab clean help

book: $(if $(EXECUTOR),.venv/.cluster,$(INSTALLED))  ## train what is missing, execute the notebooks, render the book (PROFILE= SEED= SET="key=value" FULL=1 TORCH=cpu CORES= EXECUTOR=slurm)
	@cat $(INSTALLED)
	@$(SACBOOK) book $(OPTIONS) $(if $(CORES),--cores "$(CORES)") $(if $(EXECUTOR),--executor "$(EXECUTOR)")

test: .venv/.tools  ## lint, import contracts, a browser, all notebooks and the strict book under the smoke profile, all tests
	@"$(BIN)/python" -m sacbook.browsers
	@"$(BIN)/ruff" format --check .
	@"$(BIN)/ruff" check .
	@"$(BIN)/lint-imports"
	@$(MAKE) --no-print-directory --jobs 6 $(TESTS)

smoke: .venv/.tools
	@SAC_SET= $(SACBOOK) book --profile smoke

# side by side, one process each; those of the book often wait, for the browser or for Slurm. tests/sacheck needs no smoke run
$(filter-out tests/sacheck,$(TESTS)): smoke
$(TESTS):
	@"$(BIN)/python" -m pytest $@ $(patsubst %,--ignore %,$(filter $@/%,$(ALONE)))

cluster: smoke  ## the whole smoke run through a Slurm on this machine, against the one without (root and apt)
	@"$(BIN)/python" -m pytest -s tests/sacbook/slurm.py

notebook: $(INSTALLED)  ## execute one notebook with parameters: NAME=04_extraction ARGS="-p key value" (PROFILE= SEED= SET= FULL=1)
	@$(SACBOOK) notebook "$(NAME)" $(OPTIONS) $(ARGS)

compare: $(INSTALLED)  ## set two finished runs side by side: A="fashion" B="fashion seed=1"
	@SAC_SET= $(SACBOOK) compare "$(A)" "$(B)"

handouts: $(INSTALLED)  ## exercises for students and teachers, and an exam, from a finished run (PROFILE= SEED= SET= FULL=1)
	@$(SACBOOK) handouts $(OPTIONS)

slides: $(INSTALLED)  ## slides from a finished run, opened from disk (PROFILE= SEED= SET= FULL=1)
	@$(SACBOOK) slides $(OPTIONS)

pdf: .venv/.tools  ## print the finished book as one PDF, with a headless browser (PROFILE= SEED= SET= FULL=1)
	@"$(BIN)/python" -m sacbook.browsers
	@$(SACBOOK) pdf $(OPTIONS)

offline: .venv/.tools  ## one zip of the finished book that reads without a network: pages, PDF, hand-outs, slides (PROFILE= SEED= SET= FULL=1)
	@"$(BIN)/python" -m sacbook.browsers
	@$(SACBOOK) offline $(OPTIONS)

benchmarks: $(INSTALLED)  ## measure speed, after make book; the next one shows it on the page "How fast it is"
	@for name in training fingerprints checking scaling book; do "$(BIN)/python" -m benchmarks.$$name || exit 1; done

status: $(INSTALLED)  ## what a run has, what is out of date and why, what it costs to make (PROFILE= SEED= SET= FULL=1)
	@$(SACBOOK) status $(OPTIONS)

torture: .venv/.tools  ## kill a smoke run at a hundred random moments and compare what it computes (ARGS="--kills 100 --seed 0")
	@SAC_SET= "$(BIN)/python" -m tests.torture $(ARGS)

lab: .venv/.lab  ## open the sources of the notebooks in JupyterLab, through jupytext
	@$(SACBOOK) lab

clean:  ## remove everything that was made, except .venv and downloaded data
	rm -rf runs _build .snakemake .pytest_cache .hypothesis .ruff_cache .import_linter_cache

help:  ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | expand -t 12
	@echo "Profiles: $(basename $(notdir $(wildcard profiles/*.yaml)))"

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing the pinned packages into .venv (torch is large) ..."
	@"$(PYTHON)" -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'Python 3.11 or newer is needed, this is ' + sys.version.split()[0])"
	@"$(BIN)/python" -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	@start=$$(date +%s) \
	  $(if $(TORCH),&& $(PIP) --constraint constraints.txt --no-deps --force-reinstall --index-url https://download.pytorch.org/whl/$(TORCH) torch torchvision) \
	  && $(PIP) --constraint constraints.txt --editable '.[check$(TOOLS)]' \
	  && printf 'installation              %8s s\n' $$(( $$(date +%s) - start )) > $@ \
	  $(if $(TOOLS),&& touch .venv/.tools)

# what tests need is installed with the packages, or after them where they are there
.venv/.tools: TOOLS = ,test
.venv/.tools: $(INSTALLED)
	@test $@ -nt $(INSTALLED) || $(PIP) --constraint constraints.txt --editable '.[check$(TOOLS)]'
	@touch $@

.venv/.lab: $(INSTALLED)
	@$(PIP) --constraint constraints.txt --editable '.[check,lab]'
	@touch $@

.venv/.cluster: $(INSTALLED)
	@$(PIP) --constraint constraints.txt --editable '.[check,cluster]'
	@touch $@
