#!/usr/bin/env bash
# Speed of candor beside candle-transformers and transformers on the default model. Prints, asserts nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CANDOR_MODEL_DIR=${CANDOR_MODEL_DIR:-$PWD/target/models}
cargo run --release --locked --quiet -- model pull smollm2-135m-instruct
cargo bench --locked --quiet --workspace --bench speed
python=.venv-bench/bin/python
if [ ! -x "$python" ]; then
  python3 -m venv .venv-bench
  "$python" -m pip install --quiet torch transformers==5.23.0 gguf accelerate
fi
exec "$python" tests/bench/transformers_speed.py "$CANDOR_MODEL_DIR/SmolLM2-135M-Instruct.Q4_1.gguf"
