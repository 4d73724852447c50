# Read by hadolint, and what it copies was installed into an empty folder (tests/deploy); never built.
#
#     docker build -f deploy/cpu.Dockerfile -t finetrack:cpu .          # from the repository's root
#     docker run --user "$(id -u)" -e HOME=/tmp -v "$PWD":/finetrack finetrack:cpu dvc repro
#
# PyPI's torch is CUDA's, 3 GB that a CPU has no use for. `--build-arg PIP_EXTRA_INDEX_URL=...` names an index that has the
# CPU's build of the version in constraints.txt; without it this image works too, and is as large as the GPU's.
FROM python:3.11-slim-bookworm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# Git for DVC, GL and glib for OpenCV, wget for the probes of KubeRay.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libgl1 libglib2.0-0 wget \
    && rm -rf /var/lib/apt/lists/*

ARG PIP_EXTRA_INDEX_URL
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pipeline pipeline
COPY stages stages
RUN --mount=type=cache,target=/root/.cache/pip pip install . -c constraints.txt

RUN useradd --create-home --uid 1000 finetrack && mkdir /finetrack && chown finetrack /finetrack
USER 1000
WORKDIR /finetrack
COPY --chown=1000 params.yaml cluster.yaml ./
ENV OMP_NUM_THREADS=1 RAY_USAGE_STATS_ENABLED=0
