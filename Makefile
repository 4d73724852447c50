# The commands of the README. Every target sets .venv up first, once.

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# One thread a process: several processes with several threads each are slower than one on small machines.
export OMP_NUM_THREADS ?= 1

READY := .venv/ready

.PHONY: setup repro test test-slow check bench

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@

repro: setup
	@python -m pipeline.choose $(if $(EXPERIMENTS),--experiments "$(EXPERIMENTS)") $(if $(SOURCE),--source "$(SOURCE)") \
		$(if $(DETECTIONS),--detections "$(DETECTIONS)") $(if $(WEIGHTS),--weights "$(WEIGHTS)")
	@dvc repro
	@python -m pipeline.reports.terminal reports

test: setup
	python -m pytest -m "not slow"

test-slow: setup
	python -m pytest -m slow

check: setup
	ruff check .
	ruff format --check .
	mypy

bench: setup
	python -m benchmarks.association
	python -m benchmarks.scoring
