# The project's commands; `make help` lists them. Each does all of its set-up first: setup/r.sh, setup/python.sh,
# then the R package with the Python wheel inside. What is there already is left alone.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Only the processes started here see the project's own R library and Python.
export R_LIBS := $(CURDIR)/.rlib$(if $(R_LIBS),:$(R_LIBS))
export SAILERX_PYTHON := $(CURDIR)/.venv/bin/python

PYTHON_IN_VENV := .venv/bin/python
PYTEST := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PYTHON_IN_VENV) -m pytest
# Two groups of tests at a time, a file each or as tests/conftest.py says, by two processes with one thread.
PARALLEL := -n 2 --dist loadscope --no-loadscope-reorder --durations=40
DEMO_SCRIPT ?= rpkg/inst/scripts/demo.R
DEMO_FOLDER ?= demo
# For `make demo`, `make bench` and `make bench-gpu`: a file, and the columns of its metadata; cells with the label DROP are not scored.
DATA ?=
LABELS ?=
BATCH ?=
DROP ?=
# For `make paper`, where DATA is a folder: genomes (mm10.fa, hg38.fa), QUICK=1 for little data and few epochs, a Python with
# benchmarks/requirements-imputation.txt, methods to leave out (METHOD or METHOD@DATA).
GENOME ?=
QUICK ?=
IMPUTATION ?=
WITHOUT ?=
# For `make bench`: a checkout of the reference implementation, and a Python with benchmarks/requirements-peers.txt.
REFERENCE ?=
PEERS ?=
BENCH_OUT ?= benchmarks/results/speed.csv
WHOLE_OUT ?= benchmarks/results/whole.csv
# For `make bench-quick`: a commit to run in turns with this code, instead of the committed numbers.
BEFORE ?=
GPU_OUT ?= benchmarks/results/gpu.csv

# Folders are among the prerequisites so that a deleted file is noticed.
in_wheel := $(shell find python bridge/sailerx_bridge bridge/format.json pyproject.toml README.md LICENSE \
	-not -name '*.pyc' -not -name __pycache__ 2>/dev/null)
in_r_package := $(shell find rpkg -not -name '*.whl' -not -path '*/_snaps/*' 2>/dev/null)

.PHONY: help setup package vignettes dist demo docs test test-full bench bench-quick bench-gpu compare paper lint format clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

setup:  ## everything that the other commands need: R, .venv/, .rlib/
	@setup/r.sh
	@setup/python.sh
	@if [ -f .rlib/r.txt ]; then $(MAKE) --no-print-directory package; fi

package: .rlib/sailerx.stamp ; @:

.rlib/wheel.stamp: $(in_wheel) .venv/.state
	@rm -f rpkg/inst/python/*.whl && mkdir -p rpkg/inst/python
	@setup/step.sh .rlib/wheel.log "Python wheel into rpkg/inst/python/" \
		$(PYTHON_IN_VENV) -m build --wheel --no-isolation --outdir rpkg/inst/python .
	@touch $@

.rlib/sailerx.stamp: $(in_r_package) .rlib/wheel.stamp .rlib/r.txt
	@setup/step.sh .rlib/install.log "R package into .rlib/" R CMD INSTALL --library=.rlib rpkg
	@touch $@

demo: setup  ## simulated data through R into demo/; on a real file: make demo DATA=file.h5mu LABELS=cell_type
	Rscript $(DEMO_SCRIPT) "$(DEMO_FOLDER)" $(if $(DATA),"$(DATA)" "$(LABELS)" "$(BATCH)" "$(DROP)")

docs:  ## the site, in site/: R, Python, the command line and the vignettes with their results; without R its Python half
	@$(MAKE) --no-print-directory setup || SAILERX_WITHOUT_R=1 $(MAKE) --no-print-directory setup
	docs/build.sh site

vignettes: setup  ## knit vignettes/ anew for the R package, with their results: into rpkg/vignettes/ (some minutes)
	@for name in $(basename $(notdir $(wildcard vignettes/*.Rmd))); do \
		setup/step.sh .rlib/vignettes.log "$$name" Rscript vignettes/precompute.R $$name; done

dist: setup  ## the packages as they are published, checked, in dist/: wheel and sdist for Python, .tar.gz for R
	rm -rf dist && mkdir dist
	$(PYTHON_IN_VENV) -m build --no-isolation --outdir dist .
	$(PYTHON_IN_VENV) -m twine check --strict dist/*
	@if [ -f .rlib/r.txt ]; then cd dist && R CMD build ../rpkg && _R_CHECK_FORCE_SUGGESTS_=false R CMD check --as-cran --no-manual sailerx_*.tar.gz; fi

test: setup  ## the checks that every change must pass (about 10 minutes on two cores)
	$(PYTEST) $(PARALLEL) -m "not full"

test-full: setup  ## all checks, for a release (under an hour)
	$(PYTEST) $(PARALLEL) --hypothesis-profile=full

bench: setup  ## seconds and memory of an epoch and of whole runs; beside others: make bench REFERENCE=checkout PEERS=python
	$(PYTHON_IN_VENV) benchmarks/speed.py --out $(BENCH_OUT) $(if $(REFERENCE),--reference "$(REFERENCE)") $(if $(PEERS),--peers-python "$(PEERS)")
	$(PYTHON_IN_VENV) benchmarks/speed.py --table $(BENCH_OUT)
	$(PYTHON_IN_VENV) benchmarks/whole.py --out $(WHOLE_OUT) $(if $(DATA),--files "$(DATA)" $(if $(DROP),--drop "$(DROP)")) $(if $(PEERS),--peers-python "$(PEERS)")
	$(PYTHON_IN_VENV) benchmarks/whole.py --table $(WHOLE_OUT)

bench-quick: setup  ## whether something got slower, in under 3 minutes; than a commit, here: make bench-quick BEFORE=HEAD~1
	$(PYTHON_IN_VENV) benchmarks/quick.py $(if $(BEFORE),--before "$(BEFORE)")

bench-gpu: setup  ## whole runs on a GPU; with quality beside the CPU: make bench-gpu DATA=file.h5mu LABELS=cell_type DROP=label
	$(PYTHON_IN_VENV) benchmarks/gpu.py --profile --out $(GPU_OUT) $(if $(DATA),--files "$(DATA)" --labels "$(LABELS)" $(if $(DROP),--drop "$(DROP)"))
	$(PYTHON_IN_VENV) benchmarks/gpu.py --table $(GPU_OUT)

compare: setup  ## embeddings of a file beside each other, into compare/: make compare DATA=file.h5mu LABELS=cell_type DROP=label
	$(PYTHON_IN_VENV) benchmarks/side_by_side.py "$(DATA)" $(if $(LABELS),--labels "$(LABELS)") $(if $(DROP),--drop "$(DROP)") --out compare

paper: setup  ## the paper's experiments as a page, paper/paper.html: make paper DATA=folder GENOME=mm10.fa; QUICK=1 ends in minutes
	$(PYTHON_IN_VENV) benchmarks/paper.py --out paper $(if $(DATA),--data "$(DATA)") $(if $(GENOME),--genome $(GENOME)) $(if $(filter-out 0,$(QUICK)),--quick) \
		$(if $(PEERS),--peers-python "$(PEERS)") $(if $(IMPUTATION),--imputation-python "$(IMPUTATION)") $(if $(WITHOUT),--without $(WITHOUT))

lint: setup  ## layout, style and types of the Python code
	$(PYTEST) tests/test_lint.py

format: setup  ## lay the Python code out as `make lint` wants it
	$(PYTHON_IN_VENV) -m ruff check --fix-only --quiet .
	$(PYTHON_IN_VENV) -m ruff format --quiet .

clean:  ## remove all that the commands above made, set-up included
	rm -rf .venv .rlib demo paper site docs/api dist build rpkg/inst/python/*.whl .pytest_cache .ruff_cache .mypy_cache .hypothesis
