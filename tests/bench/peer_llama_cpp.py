#!/usr/bin/env python3
"""llama.cpp as a peer of `make bench-model`, by its C interface, so that no Python runs between tokens of a batch.

    python peer_llama_cpp.py MODEL.gguf
    python peer_llama_cpp.py MODEL.gguf --requantise Q8_0 OUT.gguf

Prefill of 512 tokens as one batch, logits of the last token only; then 64 steps of one token. As many threads as
there are cores. Each with flash attention on and off. Weights are repacked for the processor where llama.cpp can.
"""

import ctypes
import importlib.metadata
import os
import sys
import time

import llama_cpp

from workload import DECODE, N_CORES, PREFILL, serve, token_ids

FILE_TYPES = {
    "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    "BF16": llama_cpp.LLAMA_FTYPE_MOSTLY_BF16,
}
FLASH_ATTENTION = {
    "flash attention": llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "no flash attention": llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}


@llama_cpp.llama_log_callback
def silent(_level, _text, _user_data):
    pass


def requantise(source, file_type, target):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = FILE_TYPES[file_type]
    params.allow_requantize = True
    params.nthread = N_CORES
    # A file that is there is whole.
    part = target + ".part"
    if llama_cpp.llama_model_quantize(source.encode(), part.encode(), ctypes.byref(params)) != 0:
        sys.exit(f"llama.cpp cannot requantise `{source}` to {file_type}")
    os.replace(part, target)


def load(path):
    start = time.perf_counter()
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    if not model:
        sys.exit(f"llama.cpp cannot load `{path}`")
    load_s = time.perf_counter() - start
    facts = {
        "llama-cpp-python": importlib.metadata.version("llama-cpp-python"),
        "system": llama_cpp.llama_print_system_info().decode(),
        "model": described(model),
        "weights_bytes": llama_cpp.llama_model_size(model),
        "load_s": load_s,
    }
    # Contexts live from turn to turn: a new one's memory is slow when first touched, and the warm-up touches it.
    contexts = {name: new_context(model, kind) for name, kind in FLASH_ATTENTION.items()}
    return facts, lambda: turn(contexts)


def described(model):
    text = ctypes.create_string_buffer(256)
    llama_cpp.llama_model_desc(model, text, len(text))
    return text.value.decode()


def turn(contexts):
    figures = {"prefill": {}, "decode": {}}
    for name, context in contexts.items():
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        figures["prefill"][name] = PREFILL / seconds(context, [(0, PREFILL)])
        steps = [(PREFILL + i, 1) for i in range(DECODE)]
        figures["decode"][name] = DECODE / seconds(context, steps)
    return figures


def new_context(model, flash_attention):
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = PREFILL + DECODE
    params.n_batch = params.n_ubatch = PREFILL
    params.n_threads = params.n_threads_batch = N_CORES
    params.flash_attn_type = flash_attention
    params.no_perf = True
    context = llama_cpp.llama_init_from_model(model, params)
    assert context, "llama.cpp makes no context"
    return context


def seconds(context, steps):
    """Time of some steps, each the position of its first token and its number of tokens."""
    batches = [new_batch(*step) for step in steps]
    start = time.perf_counter()
    for batch in batches:
        assert llama_cpp.llama_decode(context, batch) == 0
        llama_cpp.llama_synchronize(context)
        assert llama_cpp.llama_get_logits_ith(context, -1)
    taken = time.perf_counter() - start
    for batch in batches:
        llama_cpp.llama_batch_free(batch)
    return taken


def new_batch(start, count):
    batch = llama_cpp.llama_batch_init(count, 0, 1)
    batch.n_tokens = count
    for i, token in enumerate(token_ids(start, count)):
        batch.token[i] = token
        batch.pos[i] = start + i
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = 0
        batch.logits[i] = i == count - 1
    return batch


if __name__ == "__main__":
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    if sys.argv[2:3] == ["--requantise"]:
        requantise(sys.argv[1], sys.argv[3], sys.argv[4])
    else:
        serve(lambda: load(sys.argv[1]))
