# Every command sets itself up: the first call makes .venv with the pinned packages.

PYTHON ?= python3
# Options for pip, such as another index. By itself: the CPU builds of torch where a Linux on x86-64 has no NVIDIA GPU and their index answers.
CPU_BUILDS := https://download.pytorch.org/whl/cpu
PIP_ARGS ?= $(shell [ "$$(uname -sm)" != "Linux x86_64" ] || [ -e /dev/nvidiactl ] || \
	! $(PYTHON) -c 'import urllib.request as u; u.urlopen("$(CPU_BUILDS)/torch/", timeout=5)' 2>/dev/null || echo "--extra-index-url $(CPU_BUILDS)")
# Options for pytest, and the tests that make check runs.
PYTEST_ARGS ?=
TESTS ?= tests/unit
CORES ?= $(shell nproc 2>/dev/null || echo 2)
# Runs of the workflow wait for their jobs: a worker more than there are cores keeps the cores busy.
WORKERS ?= $(shell echo $$(($(CORES) + 1)))
BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake

.PHONY: help setup config demo demo-full test check lint format bench reference reference-finder generate clean

help:
	@echo "make demo       both chains on a mock archive and a mock sky, in minutes; prints where the reports are"
	@echo "make demo-full  the same with networks, controls and rounds that take longer to learn"
	@echo "make setup      make .venv with the pinned packages; every target that needs it does so by itself"
	@echo "make test       set up and pass all tests"
	@echo "make check      the fast tests alone, or those of a folder: make check TESTS=tests/unit/lensing"
	@echo "make lint       ruff, snakefmt, snakemake --lint"
	@echo "make format     write the code as ruff and snakefmt would have it"
	@echo "make bench      measure speed; prints the tables of docs/benchmarks.md"
	@echo "make reference  the reference run of config/subhalo-reference.yaml (about two hours on 2 cores)"
	@echo "make reference-finder  that of the lens finder, config/lensfinder-reference.yaml (two to three hours on 2 cores)"
	@echo "make config     every key of the config with its default; of a run: make config CONFIG=mine.yaml TO=all.yaml"
	@echo "make generate   write the config's schema and the documents made from models and schemas anew"
	@echo "make clean      remove the demos' results; real results stay"

# The stamp is named after the pins, so that a changed pin sets up again.
PINS := $(shell cat requirements.txt requirements-dev.txt constraints.txt 2>/dev/null | cksum | cut -d' ' -f1)
READY := .venv/.ready-$(PINS)

setup: $(READY)

$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; found $$($(PYTHON) --version). Name another one: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --requirement requirements-dev.txt $(PIP_ARGS)
	@# torchvision's wheel for CUDA beside a CPU build of torch: what it lacks is declared when torch is imported.
	@$(BIN)/python workflow/scripts/darkhaloscope/learning/operators.py
	@# pip compiles one file after another; this takes all cores. A few packages hold files for other Pythons: no error.
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@rm -f .venv/.ready-*
	@touch $@

demo: setup
	$(SNAKEMAKE) --cores $(CORES) --configfile config/demo.yaml
	@echo "The reports are at results/demo/index.html"

demo-full: setup
	$(SNAKEMAKE) --cores $(CORES) --configfile config/demo-full.yaml
	@echo "The reports are at results/demo-full/index.html"

reference: setup
	$(SNAKEMAKE) --cores $(CORES) --configfile config/subhalo-reference.yaml
	@echo "The report is at results/reference/index.html"

reference-finder: setup
	$(SNAKEMAKE) --cores $(CORES) --configfile config/lensfinder-reference.yaml
	@echo "The report is at results/lensfinder-reference/index.html"

test: setup
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 25 $(PYTEST_ARGS)

# The inner loop: tests of seconds. One folder of them: make check TESTS=tests/unit/lensing
check: setup
	$(BIN)/python -m pytest -q -x -m "not slow" --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile $(TESTS) $(PYTEST_ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(SNAKEMAKE) --lint --configfile config/demo.yaml

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow/rules

bench: setup
	PYTHONPATH=workflow/scripts $(BIN)/python benchmarks/bench_rendering.py
	PYTHONPATH=workflow/scripts $(BIN)/python benchmarks/bench_renderers.py
	PYTHONPATH=workflow/scripts $(BIN)/python benchmarks/bench_loading.py
	PYTHONPATH=workflow/scripts $(BIN)/python benchmarks/bench_evaluation.py
	PYTHONPATH=workflow/scripts $(BIN)/python benchmarks/bench_planning.py
	PYTHONPATH=workflow/scripts $(BIN)/python benchmarks/bench_manifest.py
	PYTHONPATH=workflow/scripts $(BIN)/python benchmarks/bench_checks.py --stamps 1000000 4000000

config: setup
	@PYTHONPATH=workflow/scripts $(BIN)/python -m darkhaloscope.config.written $(CONFIG) $(if $(TO),--to $(TO))

generate: setup
	cd workflow/scripts && ../../$(BIN)/python -m darkhaloscope.generate

clean:
	rm -rf results/demo results/demo-full
