#!/usr/bin/env bash
# Runs a Python program in the tests' own environment (.venv), which it makes on first use.
set -euo pipefail
cd "$(dirname "$0")/.."
requirements=tests/requirements.txt
stamp=.venv/requirements.sha256
if [ ! -x .venv/bin/python ] || ! sha256sum --check --status "$stamp" 2>/dev/null; then
  python3 -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
  sha256sum "$requirements" > "$stamp"
fi
exec .venv/bin/python "$@"
