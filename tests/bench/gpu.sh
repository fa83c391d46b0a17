#!/usr/bin/env bash
# Values and speed of candor on a GPU beside transformers; see gpu.py, which gets the arguments.
# Needs the CUDA toolkit (`nvcc`) for `--device cuda`. `--device tensors --small` needs no GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."
requirements=tests/bench/requirements-gpu.txt
stamp=.venv-gpu/requirements.sha256
if [ ! -x .venv-gpu/bin/python ] || ! sha256sum --check --status "$stamp" 2>/dev/null; then
  python3 -m venv .venv-gpu
  .venv-gpu/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
  sha256sum "$requirements" > "$stamp"
fi
exec .venv-gpu/bin/python tests/bench/gpu.py "$@"
