#!/usr/bin/env python3
"""Questions with two stated answers, out of written-pairs: prompts that a small model's replies can be graded on.

    python prompts.py DIALOGUES.jsonl OUT

Takes every scenario whose key is a number or a choice, ends its last question with both answers in an order drawn by
the scenario's name, and writes OUT/incentive.jsonl (the scenario as it is) and OUT/neutral.jsonl (its neutral variant).
The key stays the scenario's; the reply is left away.
"""

import hashlib
import json
import sys
from pathlib import Path

# Per language: how the question goes on.
ASK = {
    "en": "{question} Answer with one of: {a}; {b}.",
    "zh": "{question} 请从以下答案中选一个：{a}；{b}。",
    "es": "{question} Responda con una de estas opciones: {a}; {b}.",
}


def main(source, out):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    written = {"incentive": [], "neutral": []}
    seen = set()
    for line in Path(source).read_text().splitlines():
        dialogue = json.loads(line)
        key = dialogue["key"]
        if key["kind"] not in ("number", "choice") or key.get("false") in (None, []):
            continue
        group = "incentive" if "pair" in dialogue else "neutral"
        name = (group, dialogue.get("pair", dialogue["scenario"]))
        if name in seen or dialogue["messages"][-2]["role"] != "user":
            continue
        seen.add(name)
        written[group].append(prompt(dialogue))
    for group, dialogues in written.items():
        text = "".join(json.dumps(dialogue, ensure_ascii=False) + "\n" for dialogue in dialogues)
        (out / f"{group}.jsonl").write_text(text)
        print(group, len(dialogues))


def prompt(dialogue):
    true, false = (str(dialogue["key"][side]) for side in ("true", "false"))
    turned = hashlib.sha256(dialogue["scenario"].encode()).digest()[0] % 2
    a, b = (false, true) if turned else (true, false)
    messages = dialogue["messages"][:-1]
    question = messages[-1]["content"]
    ask = ASK[dialogue["language"]]
    messages = messages[:-1] + [{"role": "user", "content": ask.format(question=question, a=a, b=b)}]
    kept = {name: value for name, value in dialogue.items() if name not in ("spans", "tools", "thinking", "mode")}
    return kept | {"messages": messages, "label": "ungraded", "harmful_intent": False}


if __name__ == "__main__":
    main(*sys.argv[1:])
