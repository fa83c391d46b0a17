#!/usr/bin/env bash
# Opens a report (default: the example's) in Chromium at phone and desktop width.
set -euo pipefail
cd "$(dirname "$0")/.."
out=target/report-check
mkdir -p "$out"
if ! command -v chromium >/dev/null; then
  # The one package from outside cargo and pip: a browser.
  if [ "$(id -u)" = 0 ]; then as_root=; else as_root=sudo; fi
  $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
report=${1:-}
if [ -z "$report" ]; then
  cargo build --locked --quiet --workspace --examples
  CANDOR_REPORT_OUT=$out "${CARGO_TARGET_DIR:-target}/debug/examples/render"
  report=$out/report.html
fi
exec bash tests/python.sh tests/browser/test_report.py "$report" --screenshots "$out/screenshots"
