#!/usr/bin/env python3
"""transformers as a peer of `make bench-model`: the forward pass that makes every hidden state.

    python peer_transformers.py MODEL.gguf bfloat16

Timed is the base model's forward with `output_hidden_states=True` and nothing else: no logits, nothing copied out,
nothing written. candor's capture does all of that on the way to its file, so the comparison favours transformers.
One sequence of 512 tokens and four at once; the cache is kept or not as transformers does by default.
"""

import importlib.metadata
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, GgufConfig  # noqa: E402

from workload import N_CORES, PREFILL, serve, token_ids  # noqa: E402

BATCHES = (1, 4)


def load(path, dtype):
    torch.set_num_threads(N_CORES)
    start = time.perf_counter()
    # Dense weights: left packed they would be unpacked again in every forward, which is far slower.
    whole = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=dtype, quantization_config=GgufConfig(dequantize=True)
    )
    model = whole.base_model.eval()
    load_s = time.perf_counter() - start
    dense = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert dense and all(module.weight.dtype == dtype for module in dense)

    def hidden_states(n_rows):
        ids = torch.tensor([token_ids(PREFILL * row, PREFILL) for row in range(n_rows)])
        start = time.perf_counter()
        with torch.inference_mode():
            out = model(ids, output_hidden_states=True)
        seconds = time.perf_counter() - start
        assert len(out.hidden_states) == model.config.num_hidden_layers + 1
        assert out.hidden_states[-1].shape[:2] == (n_rows, PREFILL)
        return n_rows * PREFILL / seconds

    facts = {
        "transformers": importlib.metadata.version("transformers"),
        "torch": importlib.metadata.version("torch"),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "attention": model.config._attn_implementation,
        "load_s": load_s,
    }
    return facts, lambda: {"hidden_states": {f"{n} x {PREFILL}": hidden_states(n) for n in BATCHES}}


if __name__ == "__main__":
    serve(lambda: load(Path(sys.argv[1]).resolve(), getattr(torch, sys.argv[2])))
