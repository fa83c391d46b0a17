#!/usr/bin/env python3
"""Speed of transformers on a GGUF: the number the Rust forward is compared with.

    python transformers_speed.py SmolLM2-135M-Instruct.Q4_1.gguf [--threads 2] [--runs 3]

One JSON line per dtype on stdout. The GGUF is dequantised at load; loading is not timed.
Prefill: 512 tokens, output_hidden_states=True, no cache, logits of the last position only.
Decode: greedy with the KV cache after a 32-token prompt, which is not timed; 64 timed steps, one
forward each, stopping at no token. Each figure is the median of the runs after one untimed warm-up;
*_runs holds each run. other_cpu_s is the CPU time that everything else on the machine used meanwhile
(Linux only): where it is not near zero, the figures are too low and not to be compared with.

Versions: torch==2.15.0 transformers==5.23.0 gguf==0.19.0
"""

import argparse
import importlib.metadata as md
import json
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

PREFILL, PROMPT, DECODE = 512, 32, 64


def prefill(model, ids):
    t = time.perf_counter()
    out = model(ids, use_cache=False, output_hidden_states=True, logits_to_keep=1)
    seconds = time.perf_counter() - t
    assert len(out.hidden_states) == model.config.num_hidden_layers + 1
    assert out.hidden_states[-1].shape[1] == PREFILL
    return seconds


def decode(model, ids):
    out = model(ids, use_cache=True, logits_to_keep=1)
    token = out.logits[:, -1].argmax(-1, keepdim=True)
    cache, produced = out.past_key_values, []
    t = time.perf_counter()
    for _ in range(DECODE):
        out = model(token, past_key_values=cache, use_cache=True)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        produced.append(int(token))
    seconds = time.perf_counter() - t
    assert cache.get_seq_length() == PROMPT + DECODE
    return seconds


def speeds(tokens, measure, runs):
    """Tokens per second of each run, after a warm-up."""
    measure()
    return [round(tokens / measure(), 1) for _ in range(runs)]


def other_cpu():
    """CPU seconds used so far by everything but this process; None where /proc/stat is missing."""
    try:
        user, nice, system, _idle, _iowait, irq, soft = map(
            int, Path("/proc/stat").read_text().splitlines()[0].split()[1:8]
        )
    except OSError:
        return None
    own = os.times()
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK") - own.user - own.system


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("gguf", type=Path)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    ap.add_argument("--attn", default="sdpa", choices=["sdpa", "eager"])
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    path = args.gguf.resolve()
    for name in args.dtype:
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=getattr(torch, name), attn_implementation=args.attn
        ).eval()
        assert model.dtype == getattr(torch, name)
        # Ordinary ids (the first 17 are special), the same every time.
        ids = torch.randint(17, model.config.vocab_size, (1, PREFILL), generator=torch.Generator().manual_seed(0))
        before = other_cpu()
        with torch.inference_mode():
            p = speeds(PREFILL, lambda: prefill(model, ids), args.runs)  # noqa: B023
            d = speeds(DECODE, lambda: decode(model, ids[:, :PROMPT]), args.runs)  # noqa: B023
        after = other_cpu()
        print(
            json.dumps(
                {
                    "engine": "transformers",
                    "model": path.name,
                    "dtype": name,
                    "attn": args.attn,
                    "threads": torch.get_num_threads(),
                    "runs": args.runs,
                    "prefill_tokens": PREFILL,
                    "prefill_tok_s": statistics.median(p),
                    "prefill_runs": p,
                    "decode_tokens": DECODE,
                    "decode_prompt_tokens": PROMPT,
                    "decode_tok_s": statistics.median(d),
                    "decode_runs": d,
                    "other_cpu_s": None if before is None else round(max(0.0, after - before), 2),
                    "cpu": torch.backends.cpu.get_cpu_capability(),
                    "torch": md.version("torch"),
                    "transformers": md.version("transformers"),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
