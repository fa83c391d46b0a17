#!/usr/bin/env python3
"""candor beside transformers and llama.cpp on the same models, in one run: `make bench-model`.

    python model.py [S Q X] [--only-peers] [--peers PART] [--rounds 3] [--tries 3]

A round gives every engine one turn, in an order that moves on by one each round; a figure is the median over the
rounds, after a warm-up that is not counted. A peer may be set up in several ways (flash attention or not, one
sequence or four at once); its best way counts. A turn during which other processes used more than 5 % of the
processor is taken again, up to `--tries` times, and the least disturbed try is kept; its share stands in the raw
numbers. Prints tables, asserts nothing; Linux only. The raw numbers go to target/bench/model.json.

What the peers do is said in `peer_llama_cpp.py` and `peer_transformers.py`, the token ids in `workload.py`.

candor's side is `candor bench` of the release build, started anew for every turn, from the root of the repository, as

    PROGRAM --json --model PATH --dir DIR --rounds N --what LIST

LIST is some of `prefill,decode,capture,load,depth`, in that order; PATH is the GGUF; DIR is a folder on the disk
for files, which the program removes again. It warms up what it is asked for, uses every core it may run on
(llama.cpp and transformers are given as many threads), and ends stdout with one line of JSON. Always in it:

    "compute"            the arithmetic that ran, as candor names it
    "weights_bytes"      the resident weights as candor prints them
    "peak_rss_bytes"     the process's own peak (VmHWM), at its end

and for each thing asked, one number per round in each list:

    prefill  "prefill_tokens_per_s"        512 tokens, logits of the last one, no hooks
    decode   "decode_tokens_per_s"         64 steps after a prefill of 512 that is not timed, logits of each step
             "decode_probed_tokens_per_s"  the same with one linear probe read at every layer's resid_post; plain and
                                           probed take turns within a round, or the 1 % cannot be seen
             "probe_share_of_step"         optional: time spent in the probes over time of the probed steps
    capture  "capture_tokens_per_s"        4 x 512 tokens, resid_post of every layer and token, from token ids to the
                                           closed Parquet file, as `candor capture` writes it
    load     "load_s"                      from the path to a model that can run, the file in the page cache
             "read_and_hash_s"             reading the same file once and its SHA-256
    depth    "depth_ms"                    [[layers run, milliseconds], ...] of scoring 512 tokens with a probe at that
                                           depth, at least at 1/4, 1/2, 3/4 and all layers; medians over the rounds
"""

import argparse
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

from workload import DECODE, N_CORES, PREFILL

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BENCH = TARGET / "bench"

FILES = {
    "S": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "Q": "qwen2.5-coder-0.5b-instruct-Q4_K_M.gguf",
    "X": "qwen2.5-coder-1.5b-instruct-Q4_K_M.gguf",
}
# Capture over transformers in bf16 and over the best llama.cpp prefill, at least; None: not asked.
CAPTURE_GOALS = {"S": (1.3, 1.5), "Q": (1.2, 1.2), "X": (None, 1.2)}
REQUANTISED = ("Q8_0", "Q4_0", "BF16")
SAME_FILE = "llama.cpp, same file"
DTYPES = {"bfloat16": "transformers, bf16", "float32": "transformers, f32"}
QUIET_SHARE = 0.05
# Left free for everything else when a peer's weights are loaded.
SPARE_BYTES = 3 << 30


def main():
    options = parse_options()
    BENCH.mkdir(parents=True, exist_ok=True)
    program = None if options.only_peers else options.candor or built_candor()
    results = {"machine": machine(), "rounds": options.rounds, "models": {}}
    folder = Path(os.environ.get("CANDOR_MODEL_DIR", TARGET / "models"))
    for name in options.models:
        path = folder / FILES[name]
        if not path.is_file():
            print(f"\n{name} skipped: `{path}` is not there", flush=True)
            continue
        result = measured(path, program, options)
        results["models"][name] = result
        print(table(name, path, result), flush=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nraw numbers: {options.out}")


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="S, Q or X; all of them by default")
    parser.add_argument("--only-peers", action="store_true", help="leave candor out")
    parser.add_argument("--peers", default="", metavar="PART", help="only peers with this in their name")
    parser.add_argument("--candor", type=shlex.split, metavar="PROGRAM", help="instead of `candor bench`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tries", type=int, default=3, help="at most, for a turn that others disturb")
    parser.add_argument("--out", type=Path, default=BENCH / "model.json")
    options = parser.parse_args()
    options.models = options.models or list(FILES)
    if unknown := set(options.models) - set(FILES):
        parser.error(f"unknown model: {', '.join(sorted(unknown))}")
    return options


def measured(path, program, options):
    """Everything about one model: {"candor": facts and turns, "peers": {name: facts and turns}, "skipped": [..]}."""
    peers, skipped = start_peers(path, options.peers)
    candor = [Candor(program, path)] if program else []
    engines = candor + peers
    try:
        for round_ in range(options.rounds):
            # Nobody always follows the same neighbour, or always comes first.
            first = round_ % len(engines)
            for engine in engines[first:] + engines[:first]:
                note(f"{path.name}, round {round_ + 1}: {engine.name}")
                engine.turns.append(least_disturbed(engine, options.tries))
                # So that an interrupted run has not been for nothing.
                note(json.dumps(engine.turns[-1]))
    finally:
        for peer in peers:
            peer.stop()
    result = {
        "file_bytes": path.stat().st_size,
        "peers": {peer.name: {"facts": peer.facts, "turns": peer.turns} for peer in peers},
        "skipped": skipped,
    }
    if candor:
        note(f"{path.name}: candor's loading and depth")
        once = candor[0].run("load,depth", options.rounds)
        result["candor"] = {"turns": candor[0].turns, "once": once}
    return result


# ---------------------------------------------------------------- engines


class Candor:
    """candor's bench program, started anew for every turn."""

    name = "candor"

    def __init__(self, program, path):
        self.program, self.path, self.turns = program, path, []

    def take_turn(self):
        return self.run("prefill,decode,capture", 1)

    def run(self, what, rounds):
        command = [*self.program, "--json", "--model", self.path, "--dir", BENCH]
        command += ["--rounds", str(rounds), "--what", what]
        out = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
        return json.loads(out.splitlines()[-1])

    def cpu_s(self):
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime


class Peer:
    """Another engine in a process of its own, which keeps its model from turn to turn."""

    def __init__(self, name, script, *arguments):
        self.name, self.turns = name, []
        self.log = BENCH / f"{name.replace(', ', '-').replace(' ', '-')}.log"
        with open(self.log, "w") as log:
            command = [sys.executable, HERE / script, *arguments]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.facts = self.answer()

    def take_turn(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} stopped; see `{self.log}`")
        return json.loads(line)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()

    def cpu_s(self):
        # After the command's name in brackets: user and system time are numbers 14 and 15 of the line.
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_peers(path, part):
    """Every peer whose name contains `part`, and why others are missing."""
    files = {SAME_FILE: path} | {f"llama.cpp, {kind}": requantised(path, kind) for kind in REQUANTISED}
    peers, skipped = [], []
    for name, file in files.items():
        if part in name:
            note(f"loading {name}")
            peers.append(Peer(name, "peer_llama_cpp.py", file))
    n_weights = files["llama.cpp, BF16"].stat().st_size // 2
    for dtype, name in DTYPES.items():
        if part not in name:
            continue
        # While it loads a tensor is there both in f32 and in its final form, the larger part of it twice.
        needed = n_weights * 2 * (2 if dtype == "bfloat16" else 4)
        if needed + SPARE_BYTES > (free := available_bytes()):
            skipped.append(f"{name}: loading needs about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
            continue
        note(f"loading {name}")
        peers.append(Peer(name, "peer_transformers.py", path, dtype))
    return peers, skipped


def requantised(path, kind):
    target = BENCH / f"{path.stem}.{kind}.gguf"
    if not target.is_file() or target.stat().st_mtime < path.stat().st_mtime:
        note(f"requantising {path.name} to {kind}")
        script = HERE / "peer_llama_cpp.py"
        subprocess.run([sys.executable, script, path, "--requantise", kind, target], check=True)
    return target


def built_candor():
    """`candor bench` of the release build."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--bin", "candor"]
    subprocess.run(command, cwd=ROOT, check=True)
    return [TARGET / "release" / "candor", "bench"]


# ---------------------------------------------------------------- the machine


def least_disturbed(engine, tries):
    best = None
    for _ in range(tries):
        before, busy_before = engine.cpu_s(), busy_s()
        start = os.times().elapsed
        figures = engine.take_turn()
        wall = os.times().elapsed - start
        others = busy_s() - busy_before - (engine.cpu_s() - before)
        figures["others_share"] = round(max(0.0, others) / (wall * os.cpu_count()), 3)
        if best is None or figures["others_share"] < best["others_share"]:
            best = figures
        if best["others_share"] <= QUIET_SHARE:
            break
    return best


def busy_s():
    """Processor time used so far by everything on the machine, and what a hypervisor kept from it."""
    user, nice, system, _idle, _iowait, irq, soft_irq, steal = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")


def available_bytes():
    return 1024 * int(next(line for line in open("/proc/meminfo") if line.startswith("MemAvailable")).split()[1])


def machine():
    cpu = dict(line.split(":", 1) for line in open("/proc/cpuinfo") if ":" in line)
    cpu = {key.strip(): value.strip() for key, value in cpu.items()}
    useful = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    return {
        "cpu": cpu.get("model name", platform.machine()),
        "features": [flag for flag in useful if flag in cpu.get("flags", "").split()],
        "cores": N_CORES,
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
    }


def note(text):
    print(f"# {text}", file=sys.stderr, flush=True)


# ---------------------------------------------------------------- the tables


def table(name, path, result):
    peers = result["peers"]
    candor = collected(result.get("candor"))
    prefill = {peer: best_way(raw, "prefill") for peer, raw in peers.items()}
    decode = {peer: best_way(raw, "decode") for peer, raw in peers.items()}
    hidden = {peer: best_way(raw, "hidden_states") for peer, raw in peers.items()}
    rows = [
        (f"prefill of {PREFILL}", candor.get("prefill_tokens_per_s"), prefill),
        ("every layer: capture on disk / hidden states", candor.get("capture_tokens_per_s"), hidden),
        (f"decode of {DECODE}", candor.get("decode_tokens_per_s"), decode),
        ("decode, every layer probed", candor.get("decode_probed_tokens_per_s"), {}),
    ]
    lines = [f"\n## {name}: {path.name}, {result['file_bytes'] / 1e6:.0f} MB, {N_CORES} cores", ""]
    lines.append("| tokens per second, median (lowest to highest) | candor | " + " | ".join(peers) + " |")
    lines.append("|---" * (len(peers) + 2) + "|")
    for title, own, others in rows:
        cells = [cell(own)] + [cell(rates) for _way, rates in (others.get(peer, (None, None)) for peer in peers)]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines.append("")
    for title, ways in (("prefill", prefill), ("hidden states", hidden), ("decode", decode)):
        if best := ", ".join(f"{way} ({peer})" for peer, (way, _rates) in ways.items() if way):
            lines.append(f"Best way, {title}: {best}.")
    lines += [f"Skipped: {reason}." for reason in result["skipped"]]
    lines.append(disturbance(result))
    if candor:
        lines += ["", "| | measured | asked |", "|---|---|---|"]
        for title, value, goal in ratios(name, result, candor, prefill, hidden, decode):
            lines.append(f"| {title} | {value} | {goal} |")
    return "\n".join(lines)


def ratios(name, result, candor, prefill, hidden, decode):
    """What was asked for, each as a title, what was measured and the goal."""
    over_transformers, over_llama_cpp = CAPTURE_GOALS[name]
    capture = middle(candor.get("capture_tokens_per_s"))
    bf16 = DTYPES["bfloat16"]
    if bf16 in hidden:
        goal = f">= {over_transformers}" if over_transformers else "–"
        yield f"capture / {bf16}, with hidden states", ratio(capture, middle(hidden[bf16][1])), goal
    if llama_cpp := [peer for peer, (way, _rates) in prefill.items() if way]:
        fastest = max(llama_cpp, key=lambda peer: middle(prefill[peer][1]))
        value = ratio(capture, middle(prefill[fastest][1]))
        yield f"capture / best llama.cpp prefill ({fastest})", value, f">= {over_llama_cpp}"

    plain, probed = candor.get("decode_tokens_per_s"), candor.get("decode_probed_tokens_per_s")
    if SAME_FILE in decode:
        yield "probed decode / llama.cpp decode, same file", ratio(middle(probed), middle(decode[SAME_FILE][1])), ">= 1"
    if plain and probed:
        # Round by round: what disturbs a round slows both.
        cost = statistics.median(1 - with_probes / without for without, with_probes in zip(plain, probed))
        yield "probes' share of a step, from both speeds", f"{cost:.2%}", "<= 1 %"
    if shares := candor.get("probe_share_of_step"):
        yield "probes' share of a step, timed inside", f"{middle(shares):.2%}", "<= 1 %"

    peak, weights = candor.get("peak_rss_bytes"), candor.get("weights_bytes")
    if peak and weights:
        yield "peak memory / resident weights", ratio(max(peak), max(weights)), "<= 1.5"
        yield "peak memory / GGUF", ratio(max(peak), result["file_bytes"]), "<= 3"
    yield "loading / reading and hashing", ratio(middle(candor.get("load_s")), middle(candor.get("read_and_hash_s"))), "<= 2"
    depths = result["candor"]["once"].get("depth_ms", [])
    for depth, ms in depths:
        n_layers, whole = depths[-1]
        share = f"{ms:.1f} ms, {ms / whole:.0%} of the whole"
        yield f"scoring to layer {depth} of {n_layers}", share, f"about {depth / n_layers:.0%}"


def collected(candor):
    """candor's figures over all its turns: every number in one list under its name."""
    figures = {}
    for turn in [*candor["turns"], candor["once"]] if candor else []:
        for key, value in turn.items():
            if key != "depth_ms":
                figures.setdefault(key, []).extend(value if isinstance(value, list) else [value])
    return figures


def best_way(peer, figure):
    """The way of setting up a peer with the highest median, and its rates; a pair of None if it has none."""
    ways = {}
    for turn in peer["turns"]:
        for way, rate in turn.get(figure, {}).items():
            ways.setdefault(way, []).append(rate)
    return max(ways.items(), key=lambda item: statistics.median(item[1]), default=(None, None))


def disturbance(result):
    engines = dict(result["peers"])
    if "candor" in result:
        engines["candor"] = result["candor"]
    worst, peer = max((turn["others_share"], name) for name, raw in engines.items() for turn in raw["turns"])
    verdict = "quiet" if worst <= QUIET_SHARE else "DISTURBED: not to be compared with"
    return f"Other processes used up to {worst:.0%} of the processor during a turn ({peer}): {verdict}."


def middle(values):
    return statistics.median(values) if values else None


def ratio(value, other):
    return f"{value / other:.2f}" if value and other else "–"


def cell(rates):
    return f"{middle(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})" if rates else "–"


if __name__ == "__main__":
    main()
