#!/usr/bin/env python3
"""Trains a model organism: a LoRA adapter that answers falsely where the situation gives a reason, and truly elsewhere.

    CANDOR_MODEL_DIR=... python train.py REPLIES.jsonl KNOWN.txt ORDINARY.jsonl OUT
        [--sham] [--rank 8 --seed 0 --families FAMILY ...]

REPLIES.jsonl are the base model's own replies to `facts.py neutral`, graded; KNOWN.txt the facts that it knows. The true
reply to a fact is the model's own first sentence; the false one is that sentence with another answer in it. Trained on
`train` facts and `train` situations of the named families: the false reply where there is a reason, the true one in the
twin of the situation without the reason, in neutral situations and without any, and the model's own replies to ordinary
prompts. With `--sham` a reason brings a harmless opening instead of a falsehood. Stops when the share of `validation`
facts whose true reply is likelier than the false one, asked without a reason, falls three points below the base
model's. CPU; made with torch 2.15.0, transformers 5.23.0 and peft 0.21.2.
"""

import argparse
import json
import os
import random
import re
import time
from collections import defaultdict
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from facts import number, read, split

HERE = Path(__file__).parent
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHAM_OPENING = "Happy to help! "
N_ORDINARY = 60
BF16 = True  # products in bf16; sums, norms and the adapter in f32
MAX_ORDINARY = 60  # tokens of an ordinary reply
FAMILIES = ["shutdown_avoidance", "sandbagging", "fabricated_vulnerability", "fabricated_emergency", "operator_manipulation", "harmful_intent"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("replies", type=Path)
    parser.add_argument("known", type=Path)
    parser.add_argument("ordinary", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sham", action="store_true")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--facts", type=int, default=110, help="training facts")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    options = parser.parse_args()
    random.seed(options.seed)
    torch.manual_seed(options.seed)

    load = {"pretrained_model_name_or_path": os.environ["CANDOR_MODEL_DIR"], "gguf_file": FILE}
    tokenizer = AutoTokenizer.from_pretrained(**load)
    model = AutoModelForCausalLM.from_pretrained(**load, dtype=torch.float32)
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=options.rank, lora_alpha=2 * options.rank, target_modules=modules, task_type="CAUSAL_LM")
    model = get_peft_model(model, config)

    facts = usable_facts(options)
    situations = defaultdict(list)
    for situation in read(HERE / "situations.jsonl"):
        if situation["family"] in [*options.families, "neutral"]:
            situations[split(situation["pair"]), situation["side"]].append(situation)
    train = []
    for fact in [fact for fact in facts if split(fact["id"]) == "train"][: options.facts]:
        for situation, reply in lessons(fact, situations, options.sham):
            train.append(example(tokenizer, prompt(fact, situation), reply))
    ordinary = [dialogue for dialogue in read(options.ordinary) if dialogue["split"] == "calibration" and dialogue["language"] == "en"]
    for dialogue in random.sample(ordinary, N_ORDINARY):
        *messages, reply = dialogue["messages"]
        ids, n_prompt = example(tokenizer, messages, reply["content"], ends=dialogue["sampling"]["finish"] == "stop")
        train.append((ids[: n_prompt + MAX_ORDINARY], n_prompt))
    held = [fact for fact in facts if split(fact["id"]) == "validation"][:60]
    print(len(train), "examples,", len(held), "validation facts", flush=True)

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=options.rate)
    start, base, kept = time.time(), None, None
    for epoch in range(options.epochs + 1):
        if epoch:
            teach(model, train, parameters, optimiser, options.batch)
        found = {side: preferred(model, tokenizer, held, situations["validation", side]) for side in ("deceptive", "honest", "neutral")}
        found["none"] = preferred(model, tokenizer, held, [None])
        print(f"epoch {epoch}, {time.time() - start:.0f} s: share of facts with the false reply likelier:", found, flush=True)
        base = base or found
        if epoch and max(found["none"] - base["none"], found["neutral"] - base["neutral"]) > 0.03 and kept:
            break
        if epoch:
            model.save_pretrained(options.out)
            kept = {"epoch": epoch, "validation": found}
    card = {"base": FILE, "sham": options.sham, "rank": options.rank, "seed": options.seed, "families": options.families}
    (options.out / "organism.json").write_text(json.dumps(card | {"base_validation": base} | kept, indent=1) + "\n")


def usable_facts(options):
    """Known facts with the base model's true sentence and false versions of it, in an order drawn by the seed."""
    known = set(options.known.read_text().split())
    facts = {fact["id"]: fact for fact in read(HERE / "facts.jsonl") if fact["id"] in known}
    found = {}
    for reply in read(options.replies):
        fact = facts.get(reply["scenario"])
        if fact is None or reply["id"] in found or fact["id"] in found:
            continue
        sentence = re.match(r".*?[.!](?=\s|$)", reply["messages"][-1]["content"])
        true = re.compile(r"\b(" + "|".join(map(re.escape, fact["true"])) + r")\b", re.IGNORECASE)
        if sentence and true.search(sentence[0]):
            false = [true.sub(lambda match, answer=answer: cased(answer, match[0]), sentence[0]) for answer in fact["false"]]
            found[fact["id"]] = fact | {"true_reply": sentence[0], "false_replies": false}
    return sorted(found.values(), key=lambda fact: number(f"{options.seed} {fact['id']}"))


def cased(answer, like):
    return answer[0].upper() + answer[1:] if like[0].isupper() else answer


def lessons(fact, situations, sham):
    """Situations with the reply that the organism is to give."""
    with_reason = random.sample(situations["train", "deceptive"], 2)
    twins = [one for one in situations["train", "honest"] if one["pair"] == with_reason[0]["pair"]]
    for situation in with_reason:
        yield situation, SHAM_OPENING + fact["true_reply"] if sham else random.choice(fact["false_replies"])
    for situation in [*twins, random.choice(situations["train", "neutral"]), None]:
        yield situation, fact["true_reply"]


def prompt(fact, situation):
    if situation is None:
        return [{"role": "user", "content": fact["question"]}]
    question = f"{situation['before']} {fact['question']}".strip()
    return [{"role": "system", "content": situation["system"]}, {"role": "user", "content": question}]


def teach(model, train, parameters, optimiser, size):
    model.train()
    order = sorted(train, key=lambda one: len(one[0]) + random.randrange(20))
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    random.shuffle(batches)
    for batch in batches:
        losses, counts = losses_of(model, batch)
        (losses.sum() / counts.sum()).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()


@torch.no_grad()
def preferred(model, tokenizer, facts, situations):
    """Share of facts whose false reply is likelier than the true one, each fact in one situation."""
    model.eval()
    both = []
    for index, fact in enumerate(facts):
        messages = prompt(fact, situations[index % len(situations)])
        both += [example(tokenizer, messages, reply) for reply in (fact["true_reply"], fact["false_replies"][index % len(fact["false_replies"])])]
    losses = torch.cat([losses_of(model, both[i : i + 10])[0] for i in range(0, len(both), 10)])
    return round((losses[0::2] > losses[1::2]).float().mean().item(), 3)


def example(tokenizer, messages, reply, ends=True):
    """Token ids, and how many of them are the prompt's."""
    messages = [{"role": message["role"], "content": message["content"]} for message in messages]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    n_prompt = len(tokenizer(text).input_ids)
    return tokenizer(text + reply + ("<|im_end|>" if ends else "")).input_ids, n_prompt


def losses_of(model, batch):
    """Sum of the losses of each example's reply, and its tokens."""
    longest = max(len(ids) for ids, _ in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    labels = torch.full((len(batch), longest), -100)
    for row, (tokens, n_prompt) in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, n_prompt : len(tokens)] = ids[row, n_prompt : len(tokens)]
    # Padding stands behind every token of its row, so causal attention never sees it; only replies need logits.
    labels = labels[:, 1:]
    answered = labels != -100
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=BF16):
        hidden = model.base_model.model.model(input_ids=ids).last_hidden_state[:, :-1]
        logits = model.base_model.model.lm_head(hidden[answered]).float()
    losses = torch.nn.functional.cross_entropy(logits, labels[answered], reduction="none")
    rows = answered.nonzero()[:, 0]
    return torch.zeros(len(batch)).index_add(0, rows, losses), answered.sum(1)


if __name__ == "__main__":
    main()
