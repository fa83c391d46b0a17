#!/usr/bin/env bash
# Everything that CI runs. Needs Rust and Python 3.11 with pip; installs the rest:
# cargo-nextest through cargo, Python packages into .venv, Chromium through apt, the default model
# (98 MB, checksummed) into $CANDOR_MODEL_DIR or target/models.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s (%ds)\n' "$1" "$SECONDS"; }

step 'install cargo-nextest'
cargo nextest --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-nextest --version 0.9.143

step 'format'
cargo fmt --all --check
step 'lints'
cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
step 'documentation'
RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --quiet
step 'build'
cargo build --locked --workspace --all-targets --quiet

step 'default model'
export CANDOR_MODEL_DIR=${CANDOR_MODEL_DIR:-$PWD/target/models}
export CANDOR_REQUIRE_MODEL=1
"${CARGO_TARGET_DIR:-target}/debug/candor" model pull smollm2-135m-instruct

step 'tests'
cargo nextest run --locked --workspace --no-fail-fast --status-level slow --final-status-level fail
step 'documentation tests'
cargo test --locked --workspace --doc --quiet
step 'readers of the store'
bash tests/python.sh tests/interop/check_interop.py tests/fixtures/contracts/store
step 'report in a browser'
bash tests/browser.sh
step 'done'
