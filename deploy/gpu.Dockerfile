# Read by hadolint, and what it copies was installed into an empty folder (tests/deploy); never built or run on a GPU.
#
#     docker build -f deploy/gpu.Dockerfile -t finetrack:gpu .          # from the repository's root
#     docker run --gpus all --user "$(id -u)" -e HOME=/tmp -v "$PWD":/finetrack finetrack:gpu dvc repro
#
# PyPI's torch brings CUDA, cuDNN and NCCL along; the host gives the driver through the NVIDIA container toolkit.
FROM python:3.11-slim-bookworm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# Git for DVC, GL and glib for OpenCV, wget for the probes of KubeRay.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libgl1 libglib2.0-0 wget \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pipeline pipeline
COPY stages stages
RUN --mount=type=cache,target=/root/.cache/pip pip install . -c constraints.txt

RUN useradd --create-home --uid 1000 finetrack && mkdir /finetrack && chown finetrack /finetrack
USER 1000
WORKDIR /finetrack
COPY --chown=1000 params.yaml cluster.yaml ./
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    OMP_NUM_THREADS=1 RAY_USAGE_STATS_ENABLED=0
