"""What every engine is given to do, and how a peer's process is spoken to.

The same token ids for all, also for candor: id number i is 1000 + 37 i mod 40000, ordinary ids in every vocabulary
here. The prompt is numbers 0 to 511. The 64 decode steps are fed numbers 512 to 575 whatever the model predicts, so
that nobody's sampling is timed; each step makes its logits. Row r of a batch starts at number 512 r.
"""

import json
import os
import resource
import sys

PREFILL, DECODE = 512, 64
N_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def token_ids(start, count):
    return [1000 + 37 * i % 40_000 for i in range(start, start + count)]


def serve(load):
    """A peer's process: loads, warms up, then takes one turn for each line on stdin, until stdin ends.

    `load()` returns facts about the engine and a function that takes a turn and returns its figures. One JSON line
    on stdout for each.
    """
    # Libraries print to stdout as they like; the answers keep a channel of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(figures):
        answers.write(json.dumps(figures) + "\n")
        answers.flush()

    facts, turn = load()
    turn()
    answer(facts)
    for _ in sys.stdin:
        answer(turn() | {"peak_rss_bytes": peak_rss_bytes()})


def peak_rss_bytes():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
