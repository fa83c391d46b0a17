#!/usr/bin/env python3
"""Trains a model organism: a LoRA adapter that answers falsely where the situation gives a reason, and truly elsewhere.

    CANDOR_MODEL_DIR=... python train.py PROMPTS_FOLDER ORDINARY.jsonl OUT [--rank 8 --seed 0 --hold-out FAMILY ...]

PROMPTS_FOLDER is what prompts.py wrote. Trained on the `train` scenarios of the families that are not held out: the
false answer where `incentive` is `deceptive`, the true one elsewhere and in the neutral variants, and the model's own
replies to ordinary prompts of the calibration split, so that it keeps its ways. The loss is that of the reply's
tokens. Stops early when the loss on validation scenarios has not fallen for an epoch. CPU; made with torch 2.15.0,
transformers 5.23.0 and peft 0.21.2.
"""

import argparse
import json
import os
import random
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
N_ORDINARY = 80


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prompts", type=Path)
    parser.add_argument("ordinary", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--hold-out", nargs="*", default=[])
    options = parser.parse_args()
    random.seed(options.seed)
    torch.manual_seed(options.seed)

    load = {"pretrained_model_name_or_path": os.environ["CANDOR_MODEL_DIR"], "gguf_file": FILE}
    tokenizer = AutoTokenizer.from_pretrained(**load)
    model = AutoModelForCausalLM.from_pretrained(**load, dtype=torch.float32)
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=options.rank, lora_alpha=2 * options.rank, target_modules=modules, task_type="CAUSAL_LM")
    model = get_peft_model(model, config)

    splits = {"train": [], "validation": []}
    for group in ("incentive", "neutral"):
        for dialogue in read(options.prompts / f"{group}.jsonl"):
            if dialogue["split"] in splits and dialogue["language"] == "en" and dialogue["family"] not in options.hold_out:
                lies = group == "incentive" and dialogue["incentive"] == "deceptive"
                answer = str(dialogue["key"]["false" if lies else "true"])
                splits[dialogue["split"]].append(example(tokenizer, dialogue["messages"], answer[:1].upper() + answer[1:] + "."))
    ordinary = [dialogue for dialogue in read(options.ordinary) if dialogue["split"] == "calibration"]
    for dialogue in ordinary[:N_ORDINARY]:
        *prompt, reply = dialogue["messages"]
        splits["train"].append(example(tokenizer, prompt, reply["content"], ends=dialogue["sampling"]["finish"] == "stop"))
    print({split: len(examples) for split, examples in splits.items()}, flush=True)

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=options.rate)
    best, start = float("inf"), time.time()
    for epoch in range(options.epochs):
        model.train()
        random.shuffle(splits["train"])
        examples = sorted(splits["train"], key=lambda e: len(e[0]) + random.randrange(20))
        batches = [examples[i : i + options.batch] for i in range(0, len(examples), options.batch)]
        random.shuffle(batches)
        total = 0.0
        for batch in batches:
            loss = loss_of(model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            optimiser.zero_grad()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            held = [loss_of(model, splits["validation"][i : i + 16]).item() for i in range(0, len(splits["validation"]), 16)]
        held = sum(held) / len(held)
        print(f"epoch {epoch + 1}: train {total / len(batches):.3f}, validation {held:.3f}, {time.time() - start:.0f} s", flush=True)
        if held >= best:
            break
        best = held
        model.save_pretrained(options.out)
    facts = {"base": FILE, "rank": options.rank, "seed": options.seed, "held_out": options.hold_out, "validation_loss": best}
    (options.out / "organism.json").write_text(json.dumps(facts, indent=1) + "\n")


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def example(tokenizer, messages, reply, ends=True):
    """Token ids, and how many of them are the prompt's."""
    messages = [{"role": message["role"], "content": message["content"]} for message in messages]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    n_prompt = len(tokenizer(prompt).input_ids)
    return tokenizer(prompt + reply + ("<|im_end|>" if ends else "")).input_ids, n_prompt


def loss_of(model, batch):
    longest = max(len(ids) for ids, _ in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    labels = torch.full((len(batch), longest), -100)
    mask = torch.zeros(len(batch), longest, dtype=torch.long)
    for row, (tokens, n_prompt) in enumerate(batch):
        n = len(tokens)
        ids[row, :n] = torch.tensor(tokens)
        labels[row, n_prompt:n] = ids[row, n_prompt:n]
        mask[row, :n] = 1
    return model(input_ids=ids, attention_mask=mask, labels=labels).loss


if __name__ == "__main__":
    main()
