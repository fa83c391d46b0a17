#!/usr/bin/env bash
# Speed of candor beside transformers and llama.cpp on the models in $CANDOR_MODEL_DIR; see model.py.
# Needs a C++ compiler: the first run builds llama.cpp, which takes minutes. Arguments go to model.py.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CANDOR_MODEL_DIR=${CANDOR_MODEL_DIR:-$PWD/target/models}
requirements=tests/bench/requirements.txt
stamp=.venv-bench/requirements.sha256
if [ ! -x .venv-bench/bin/python ] || ! sha256sum --check --status "$stamp" 2>/dev/null; then
  python3 -m venv .venv-bench
  CMAKE_ARGS=-DGGML_NATIVE=ON .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
  sha256sum "$requirements" > "$stamp"
fi
exec .venv-bench/bin/python tests/bench/model.py "$@"
