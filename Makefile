# The commands of the README. Every target sets .venv up first, once.

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# One thread a process: several processes with several threads each are slower than one on small machines.
export OMP_NUM_THREADS ?= 1

READY := .venv/ready

.PHONY: setup plan repro sweep test test-slow check bench docs

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@

# What an experiment needs and will take; changes nothing.
plan: setup
	@finetrack plan $(EXPERIMENTS) $(if $(SOURCE),--source "$(SOURCE)") \
		$(if $(DETECTIONS),--detections "$(DETECTIONS)") $(if $(EMBEDDINGS),--embeddings "$(EMBEDDINGS)") \
		$(if $(WEIGHTS),--weights "$(WEIGHTS)")

repro: setup
	@python -m pipeline.choose $(if $(EXPERIMENTS),--experiments "$(EXPERIMENTS)") $(if $(SOURCE),--source "$(SOURCE)") \
		$(if $(DETECTIONS),--detections "$(DETECTIONS)") $(if $(EMBEDDINGS),--embeddings "$(EMBEDDINGS)") \
		$(if $(WEIGHTS),--weights "$(WEIGHTS)")
	@dvc repro
	@python -m pipeline.reports.terminal reports

# A sweep of params.yaml, its experiment first where it is missing; the main page then links it.
sweep: setup
	@dvc repro sweeps/dvc.yaml:sweep@$(or $(SWEEP),$(error SWEEP is empty: name a sweep of params.yaml, as SWEEP=reid))
	@dvc repro --single-item --force report

test: setup
	python -m pytest -m "not slow"

test-slow: setup
	python -m pytest -m slow

check: setup
	ruff check .
	ruff format --check .
	mypy

# Each prints its table and writes it below benchmarks/results/. benchmarks/sweeps.py wants a finished `make repro`,
# benchmarks/detector_gpu.py a GPU: they are run by hand.
bench: setup
	python -m benchmarks.association
	python -m benchmarks.tracking
	python -m benchmarks.scoring
	python -m benchmarks.detector
	python -m benchmarks.reid
	python -m benchmarks.store
	python -m benchmarks.cluster
	python -m benchmarks.scaling

# The documentation's site, from docs/ and the code: site/index.html. Needs no network.
docs: setup
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	@echo site/index.html
