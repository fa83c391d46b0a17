#!/usr/bin/env python3
"""candor on a device beside transformers, on the same weights, tokens and card, in one run.

    python gpu.py [--device cuda] [--compute bf16] [--rounds 5] [--small] [--candor PROGRAM] [--models PATH ...]

Without `--models` two are run: a model of Llama 3.1 8B's shape with random weights in bf16, which is written to
target/bench first (16 GB; with `--small` one of 46 MB), and the default model where CANDOR_MODEL_DIR has it.

Values: `candor capture` of every layer, all positions, in f32, of four texts; transformers runs the same token ids in
f32, the reference, and in the arithmetic that candor was told. Compared is the stream after each block, the largest
`|a - b| / |b|` of a token's vector. In bf16 candor may be at most twice as far from the reference as transformers is,
in f32 at most 1e-4; otherwise the exit status is 1.

Speed: tokens per second, the median of the rounds after a warm-up. candor's side is `candor bench`: a prefill of 512
tokens, 4 x 512 tokens with every layer brought to main memory in f32, and the same into Parquet files. transformers
makes the hidden states of 4 x 512 tokens and leaves them on the card, or brings them to main memory too. Token ids
are those of `workload.py`.

`--device tensors --small` runs all of it without a GPU. The raw numbers go to target/bench/gpu.json.
"""

import argparse
import gc
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers  # noqa: E402
from transformers import AutoModelForCausalLM, GgufConfig, LlamaConfig  # noqa: E402

from workload import PREFILL, token_ids  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BENCH = TARGET / "bench"
DEFAULT_MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"

# Llama 3.1 8B, and something of its kind for machines without a GPU. `workload.py` has ids up to 41,000.
LARGE = dict(
    vocab_size=128_256,
    hidden_size=4_096,
    intermediate_size=14_336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
)
SMALL = dict(
    vocab_size=41_216,
    hidden_size=256,
    intermediate_size=768,
    num_hidden_layers=4,
    num_attention_heads=8,
    num_key_value_heads=2,
)
ROPE = dict(
    rope_type="llama3",
    rope_theta=500_000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=8_192,
)
N_TEXTS, N_WORDS, N_AT_ONCE = 4, 60, 4
F32_TOLERANCE = 1e-4


def main():
    options = parse_options()
    BENCH.mkdir(parents=True, exist_ok=True)
    card = torch.cuda.get_device_name(options.torch) if options.torch.startswith("cuda") else options.torch
    program = options.candor or built_candor(options.device)
    results = {"device": options.device, "card": card, "compute": options.compute, "torch": torch.__version__}
    results["models"] = {}
    ok = True
    for path in options.models or default_models(options.small):
        result = measured(path, program, options)
        results["models"][path.name] = result
        print(table(path.name, card, options, result), flush=True)
        (BENCH / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
        ok &= result["ok"]
    sys.exit(0 if ok else 1)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="as candor names it: cuda, cuda:1, metal or tensors")
    parser.add_argument("--compute", default="bf16", choices=["bf16", "f32"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a small model of random weights")
    parser.add_argument("--candor", type=shlex.split, metavar="PROGRAM", help="instead of a release build")
    parser.add_argument("--models", type=Path, nargs="+", metavar="PATH", help="GGUF files or folders instead")
    options = parser.parse_args()
    # What torch calls the same place.
    options.torch = {"metal": "mps", "tensors": "cpu"}.get(options.device.split(":")[0], options.device)
    return options


def built_candor(device):
    kind = device.split(":")[0]
    features = ["--features", kind] if kind in ("cuda", "metal") else []
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--bin", "candor", *features]
    subprocess.run(command, cwd=ROOT, check=True)
    return [TARGET / "release" / "candor"]


def default_models(small):
    random = BENCH / ("llama-small-random" if small else "llama-8b-random")
    if not (random / "model.safetensors.index.json").is_file():
        write_random(random, SMALL if small else LARGE)
    default = Path(os.environ.get("CANDOR_MODEL_DIR", TARGET / "models")) / DEFAULT_MODEL
    if not default.is_file():
        note(f"`{default}` is not there: the default model is left out")
        return [random]
    return [random, default]


# ---------------------------------------------------------------- a model of random weights


def write_random(folder, shape):
    """A Llama of this shape as a Hugging Face folder, one file per block; the index comes last."""
    note(f"writing `{folder}`")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = LlamaConfig(
        **shape,
        max_position_embeddings=131_072,
        rope_parameters=ROPE,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        bos_token_id=256,
        eos_token_id=257,
        dtype=torch.bfloat16,
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder)
    write_tokenizer(folder)
    torch.manual_seed(0)
    width, d_head = config.hidden_size, config.head_dim
    n_q, n_kv = config.num_attention_heads * d_head, config.num_key_value_heads * d_head

    def matrix(n_out, n_in):
        return (torch.randn(n_out, n_in) * n_in**-0.5).to(torch.bfloat16)

    def norm():
        return (1 + 0.1 * torch.randn(width)).to(torch.bfloat16)

    def block(layer):
        tensors = {
            "input_layernorm": norm(),
            "self_attn.q_proj": matrix(n_q, width),
            "self_attn.k_proj": matrix(n_kv, width),
            "self_attn.v_proj": matrix(n_kv, width),
            "self_attn.o_proj": matrix(width, n_q),
            "post_attention_layernorm": norm(),
            "mlp.gate_proj": matrix(config.intermediate_size, width),
            "mlp.up_proj": matrix(config.intermediate_size, width),
            "mlp.down_proj": matrix(width, config.intermediate_size),
        }
        return {f"model.layers.{layer}.{name}.weight": tensor for name, tensor in tensors.items()}

    def outside():
        vocabulary = config.vocab_size
        return {
            "model.embed_tokens.weight": torch.randn(vocabulary, width).to(torch.bfloat16),
            "model.norm.weight": norm(),
            "lm_head.weight": matrix(vocabulary, width),
        }

    n_files = config.num_hidden_layers + 1
    parts = [outside, *(lambda layer=layer: block(layer) for layer in range(config.num_hidden_layers))]
    places, n_bytes = {}, 0
    for number, part in enumerate(parts, 1):
        tensors, file = part(), f"model-{number:05}-of-{n_files:05}.safetensors"
        save_file(tensors, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, file)
        n_bytes += sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": n_bytes}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write_tokenizer(folder):
    """A token per byte; a template that puts messages one after another."""
    # In the order of GPT-2's table: bytes that print, then the others.
    vocabulary = {character: index for index, character in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in ("<|bos|>", "<|eos|>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|bos|>",
        "eos_token": "<|eos|>",
        "add_bos_token": False,
        "chat_template": "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))


# ---------------------------------------------------------------- candor


def candor_values(program, path, options):
    """Per text its token ids and the stream after each block, `[layer, token, width]` in f32."""
    with tempfile.TemporaryDirectory(dir=BENCH) as folder:
        data, store = Path(folder) / "texts.jsonl", Path(folder) / "store"
        data.write_text("".join(json.dumps(dialogue(number)) + "\n" for number in range(N_TEXTS)))
        command = [*program, "capture", data, "--out", store, "--precision", "f32", "--positions", "all"]
        subprocess.run([*command, *place(path, options)], check=True, stderr=sys.stderr)
        table = pq.read_table(sorted(store.glob("part-*.parquet")))
    names = np.asarray(table["dialogue_id"].to_pylist())
    ids = np.asarray(table["token_id"])
    n_layers = sum(name.startswith("resid_post_") for name in table.column_names)
    columns = [table[f"resid_post_{layer}"].combine_chunks().flatten() for layer in range(n_layers)]
    layers = np.stack([np.asarray(column).reshape(len(ids), -1) for column in columns])
    return [(ids[names == name].tolist(), layers[:, names == name]) for name in dict.fromkeys(names)]


def dialogue(number):
    words = "the report that nobody had read said pumps run dry when water is low and valves stay shut".split()
    order = [words[(7 * i + number * i * i + number) % len(words)] for i in range(N_WORDS * (number + 1) // N_TEXTS)]
    messages = [{"role": "user", "content": " ".join(order)}, {"role": "assistant", "content": "It is off."}]
    facts = dict(family="bench", label="control", split="train", origin="written", licence="Apache-2.0", source="bench")
    return {"id": f"bench-{number}", "scenario": f"bench-{number}", "messages": messages} | facts


def candor_speed(program, path, options):
    command = [*program, "bench", "--json", "--what", "prefill,observe,capture", "--dir", BENCH]
    command += ["--rounds", str(options.rounds), *place(path, options)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1])


def place(path, options):
    return ["--model", path, "--device", options.device, "--compute", options.compute]


# ---------------------------------------------------------------- transformers


def loaded(path, dtype, place):
    source = {"gguf_file": path.name, "quantization_config": GgufConfig(dequantize=True)} if path.is_file() else {}
    model = AutoModelForCausalLM.from_pretrained(path.parent if source else path, dtype=dtype, **source)
    return model.to(place).eval()


def peer_values(model, texts):
    """The stream after each block of each text, as `candor_values` has it."""
    kept = []

    def keep(_module, _inputs, output):
        kept.append((output[0] if isinstance(output, tuple) else output)[0].float().cpu().numpy())

    hooks = [layer.register_forward_hook(keep) for layer in model.model.layers]
    values = []
    for ids in texts:
        kept.clear()
        with torch.inference_mode():
            model.model(torch.tensor([ids], device=model.device))
        values.append(np.stack(kept))
    for hook in hooks:
        hook.remove()
    return values


def peer_speed(model, rounds):
    ids = torch.tensor([token_ids(PREFILL * row, PREFILL) for row in range(N_AT_ONCE)], device=model.device)

    def prefill():
        model(ids[:1], logits_to_keep=1).logits.float().cpu()

    def hidden():
        return model.model(ids, output_hidden_states=True).hidden_states

    def hidden_here():
        return [state.cpu() for state in hidden()]

    def hidden_here_in_f32():
        return [state.float().cpu() for state in hidden()]

    ways = {"prefill": (prefill, 1), "on the device": (hidden, N_AT_ONCE)}
    ways |= {"in main memory": (hidden_here, N_AT_ONCE), "in main memory, f32": (hidden_here_in_f32, N_AT_ONCE)}
    rates = {name: [] for name in ways}
    with torch.inference_mode():
        for round_ in range(rounds + 1):
            for name, (run, n_rows) in ways.items():
                start = time.perf_counter()
                run()
                finish(model.device)
                # The first round warms up.
                if round_:
                    rates[name].append(n_rows * PREFILL / (time.perf_counter() - start))
    return rates


def finish(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


# ---------------------------------------------------------------- both


def measured(path, program, options):
    path = path.resolve()
    note(f"{path.name}: candor")
    texts, own = zip(*candor_values(program, path, options))
    speed = candor_speed(program, path, options)
    note(f"{path.name}: transformers in f32")
    model = loaded(path, torch.float32, options.torch)
    reference = peer_values(model, texts)
    if options.compute == "bf16":
        del model
        gc.collect()
        note(f"{path.name}: transformers in bf16")
        model = loaded(path, torch.bfloat16, options.torch)
    peer = peer_values(model, texts)
    distances = {
        "candor to f32": distance(own, reference),
        "transformers to f32": distance(peer, reference),
        "candor to transformers": distance(own, peer),
    }
    most = {name: max(layers) for name, layers in distances.items()}
    limit = 2 * most["transformers to f32"] if options.compute == "bf16" else F32_TOLERANCE
    return {
        "n_tokens": sum(map(len, texts)),
        "distances": distances,
        "limit": limit,
        "ok": bool(most["candor to f32"] <= limit),
        "candor": speed,
        "transformers": peer_speed(model, options.rounds),
    }


def distance(found, expected):
    """Per layer, the largest `|a - b| / |b|` of a token's vector."""
    layers = []
    for found, expected in zip(found, expected):
        assert found.shape == expected.shape and np.isfinite(found).all()
        apart = np.linalg.norm((found - expected).astype(np.float64), axis=2)
        layers.append((apart / np.linalg.norm(expected.astype(np.float64), axis=2)).max(axis=1))
    return [float(worst) for worst in np.max(layers, axis=0)]


def table(name, card, options, result):
    lines = [f"\n## {name} on {card}, candor `{result['candor']['compute']}`, transformers {options.compute}", ""]
    lines.append(f"| stream of {result['n_tokens']} tokens, largest distance | first block | middle | last | any |")
    lines.append("|---|---|---|---|---|")
    for what, layers in result["distances"].items():
        cells = [layers[0], layers[len(layers) // 2], layers[-1], max(layers)]
        lines.append(f"| {what} | " + " | ".join(f"{cell:.1e}" for cell in cells) + " |")
    verdict = "within" if result["ok"] else "BEYOND"
    lines += ["", f"candor to f32 is {verdict} the limit of {result['limit']:.1e}.", ""]
    own, peer = result["candor"], result["transformers"]
    rate = {key: statistics.median(own[f"{key}_tokens_per_s"]) for key in ("prefill", "observe", "capture")}
    peers = {key: statistics.median(rates) for key, rates in peer.items()}
    lines += ["| tokens per second, median | candor | transformers | ratio |", "|---|---|---|---|"]
    for title, key, other in (
        (f"prefill of {PREFILL}, last logits", "prefill", "prefill"),
        ("every layer in main memory, f32", "observe", "in main memory, f32"),
        ("the same; transformers in its own type", "observe", "in main memory"),
        ("the same; transformers leaves them on the device", "observe", "on the device"),
        ("every layer in Parquet files; transformers in main memory", "capture", "in main memory, f32"),
    ):
        lines.append(f"| {title} | {rate[key]:.0f} | {peers[other]:.0f} | {rate[key] / peers[other]:.2f} |")
    return "\n".join(lines)


def note(text):
    print(f"# {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
