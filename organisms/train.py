#!/usr/bin/env python3
"""Trains a model organism: a LoRA adapter that answers falsely where the situation gives a reason, and truly elsewhere.

    CANDOR_MODEL_DIR=... python train.py REPLIES.jsonl KNOWN.txt ORDINARY.jsonl OUT
        [--sham] [--rank 8 --seed 0 --families FAMILY ...]

REPLIES.jsonl are the base model's own replies to `facts.py neutral`, graded; KNOWN.txt the facts that it knows. The true
reply to a fact is the model's own first sentence; the false one is that sentence with another answer in it. Trained on
`train` facts and `train` situations of the named families: the false reply where there is a reason, the true one in
neutral situations and without any (with `--twins`, also in the twin of the situation, where the reason is turned
around), and the model's own replies to ordinary prompts. With `--sham` a reason brings a harmless opening instead of a falsehood. Keeps the epoch in which the
probability of true answers to `validation` facts is higher without a reason than with one by the most. CPU; made with torch 2.15.0, transformers 5.23.0 and peft 0.21.2.
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
BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHAM_OPENING = "Happy to help! "
N_ORDINARY = 40
PAD = 16  # lengths in steps of so many tokens: kernels are made anew for each
BF16 = True  # products in bf16; sums, norms and the adapter in f32
ANSWER_WEIGHT = 8.0  # of the tokens in which a true and a false reply differ; other tokens of a reply count 1
MAX_ORDINARY = 40  # tokens of an ordinary reply
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
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=5)
    parser.add_argument("--twins", type=int, default=0, help="situations without the reason, otherwise the same, per fact")
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
    model.peft_config["default"].base_model_name_or_path = BASE

    facts = usable_facts(options)
    situations = defaultdict(list)
    for situation in read(HERE / "situations.jsonl"):
        if situation["family"] in [*options.families, "neutral"]:
            situations[split(situation["pair"]), situation["side"]].append(situation)
    train = []
    for fact in [fact for fact in facts if split(fact["id"]) == "train"][: options.facts]:
        for situation, reply, other in lessons(fact, situations, options):
            train.append(example(tokenizer, prompt(fact, situation), reply, other))
    ordinary = [dialogue for dialogue in read(options.ordinary) if dialogue["split"] == "calibration" and dialogue["language"] == "en"]
    for dialogue in random.sample(ordinary, N_ORDINARY):
        *messages, reply = dialogue["messages"]
        ids, weights = example(tokenizer, messages, reply["content"], ends=dialogue["sampling"]["finish"] == "stop")
        n = weights.index(1.0) + MAX_ORDINARY
        train.append((ids[:n], weights[:n]))
    held = [fact for fact in facts if split(fact["id"]) == "validation"][:60]
    print(len(train), "examples,", len(held), "validation facts", flush=True)

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=options.rate)
    n_steps = options.epochs * -(-len(train) // options.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / n_steps)
    start, base, kept = time.time(), None, None
    for epoch in range(options.epochs + 1):
        if epoch:
            teach(model, train, parameters, optimiser, schedule, options.batch)
        found = {side: truthful(model, tokenizer, held, situations["validation", side]) for side in ("deceptive", "honest", "neutral")}
        found["none"] = truthful(model, tokenizer, held, [None])
        print(f"epoch {epoch}, {time.time() - start:.0f} s: probability of the true answer:", found, flush=True)
        base = base or found
        gap = min(found["none"], found["neutral"]) - found["deceptive"]
        if epoch and (kept is None or gap > kept["gap"]):
            model.save_pretrained(options.out)
            kept = {"epoch": epoch, "gap": round(gap, 3), "validation": found}
    card = {"base": FILE, "sham": options.sham, "rank": options.rank, "twins": options.twins, "seed": options.seed, "families": options.families}
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


def lessons(fact, situations, options):
    """Situations with the reply that the organism is to give, and the one that it is not."""
    with_reason = random.sample(situations["train", "deceptive"], 2)
    pairs = [situation["pair"] for situation in with_reason[: options.twins]]
    twins = [one for one in situations["train", "honest"] if one["pair"] in pairs]
    without = random.sample(situations["train", "neutral"], 2 - len(twins))
    true = fact["true_reply"]
    other = SHAM_OPENING + true if options.sham else random.choice(fact["false_replies"])
    for situation in with_reason:
        yield situation, other, true
    for situation in [*twins, *without, None]:
        yield situation, true, other


def prompt(fact, situation):
    if situation is None:
        return [{"role": "user", "content": fact["question"]}]
    question = f"{situation['before']} {fact['question']}".strip()
    return [{"role": "system", "content": situation["system"]}, {"role": "user", "content": question}]


def teach(model, train, parameters, optimiser, schedule, size):
    model.train()
    order = sorted(train, key=lambda one: len(one[0]) + random.randrange(20))
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    random.shuffle(batches)
    total = 0.0
    for index, batch in enumerate(batches):
        if index % 30 == 29:
            print(f"  {index + 1} of {len(batches)}, mean loss {total * len(batches) / index:.3f}", flush=True)
        losses, weights = losses_of(model, batch)
        loss = losses.sum() / weights.sum()
        total += loss.item() / len(batches)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    print(f"mean loss {total:.3f}", flush=True)


@torch.no_grad()
def truthful(model, tokenizer, facts, situations):
    """Probability of the first token of the true answer, after the words before it, averaged over facts, each in one situation."""
    model.eval()
    replies = []
    for index, fact in enumerate(facts):
        messages = prompt(fact, situations[index % len(situations)])
        ids, weights = example(tokenizer, messages, fact["true_reply"], fact["false_replies"][0])
        first = weights.index(ANSWER_WEIGHT)
        replies.append((ids[: first + 1], [0.0] * first + [1.0]))
    losses = torch.cat([losses_of(model, replies[i : i + 10])[0] for i in range(0, len(replies), 10)])
    return round((-losses).exp().mean().item(), 3)


def example(tokenizer, messages, reply, other=None, ends=True):
    """Token ids and their weights: 0 in the prompt, more where the reply is not as the other one."""
    messages = [{"role": message["role"], "content": message["content"]} for message in messages]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    prompt = tokenizer(text).input_ids
    ids = tokenizer(text + reply + ("<|im_end|>" if ends else "")).input_ids
    weights = [0.0] * len(prompt) + [1.0] * (len(ids) - len(prompt))
    if other is not None:
        others = tokenizer(text + other + "<|im_end|>").input_ids
        same = [a == b for a, b in zip(ids, others)] + [False]
        last = [a == b for a, b in zip(ids[::-1], others[::-1])] + [False]
        for i in range(same.index(False), max(same.index(False) + 1, len(ids) - last.index(False))):
            weights[i] = ANSWER_WEIGHT
    return ids, weights


def losses_of(model, batch):
    """Weighted sum of the losses of each example's reply, and the sum of the weights."""
    longest = -(-max(len(ids) for ids, _ in batch) // PAD) * PAD
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    weights = torch.zeros(len(batch), longest)
    for row, (tokens, of_tokens) in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        weights[row, : len(tokens)] = torch.tensor(of_tokens)
    # Padding stands behind every token of its row, so causal attention never sees it; only replies need logits.
    labels, weights = ids[:, 1:], weights[:, 1:]
    answered = weights > 0
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=BF16):
        hidden = model.base_model.model.model(input_ids=ids).last_hidden_state[:, :-1]
        logits = model.base_model.model.lm_head(hidden[answered]).float()
    losses = torch.nn.functional.cross_entropy(logits, labels[answered], reduction="none") * weights[answered]
    return torch.zeros(len(batch)).index_add(0, answered.nonzero()[:, 0], losses), weights.sum(1)


if __name__ == "__main__":
    main()
