# One-line aliases; see README.md.
.PHONY: demo test check-interop rival-embedding check-report bench bench-model bench-gpu dist deny fmt clean

demo:            ## the whole loop on the default model
	cargo run --release --locked --quiet -- demo

test:            ## everything that CI runs
	bash tests/run.sh

check-interop:   ## pyarrow, polars, pandas and DuckDB read the store
	bash tests/python.sh tests/interop/check_interop.py tests/fixtures/contracts/store

rival-embedding: ## scores of a sentence-embedding classifier, for evaluate --rival; ARGS="DATA --out SCORES.jsonl"
	bash tests/rivals/embed.sh $(ARGS)

check-report:    ## the example report in Chromium
	bash tests/browser.sh

bench:           ## tokens per second beside candle-transformers and transformers
	bash tests/bench/run.sh

bench-model:     ## capture, decode, memory and loading beside transformers and llama.cpp
	bash tests/bench/model.sh

bench-gpu:       ## values and speed on a GPU beside transformers; ARGS="--device tensors --small" needs none
	bash tests/bench/gpu.sh $(ARGS)

dist:            ## a stripped binary archive with checksums in dist/
	bash tests/dist.sh

deny:            ## licences, bans and sources of dependencies
	cargo deny --locked check bans licenses sources

fmt:
	cargo fmt --all
