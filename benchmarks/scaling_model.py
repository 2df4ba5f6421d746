#!/usr/bin/env python3
"""The time of a step on N ranks from figures measured on one machine (docs/scaling.md), as Markdown
tables.

usage: scaling_model.py FIGURES.json [--deck DECK] [--ranks 1,2,4,…]
                        [--link-gbytes B --latency-us A --ranks-per-node K]
       scaling_model.py --collect FOLDER > FIGURES.json

--collect reads what run_all.sh leaves in FOLDER (Google Benchmark's JSON of bench_step at 1 and 2
ranks, bench_collectives at 2, bench_adam). Without --link-gbytes all ranks share one node, through
the window. Volumes come from `th_app DECK --plan`, so build first.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGE, SMALL = (
    26214400,
    16384,
)  # floats: the sizes of bench_collectives that give bandwidth and latency
STAGES = range(4)


def medians(path):
    """{benchmark: median seconds a call} of a Google Benchmark JSON file whose variants ran in
    rounds."""
    scale = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
    seconds = {}
    for run in json.loads(Path(path).read_text())["benchmarks"]:
        if "/round:" in run["name"]:
            seconds.setdefault(run["name"].split("/round:")[0], []).append(
                run["real_time"] * scale[run["time_unit"]]
            )
    return {name: statistics.median(values) for name, values in seconds.items()}


def beside(path, name, reference):
    """Time of `name` in units of `reference`, the median over its calls, each compared with the
    mean of its neighbours in time (RoundRobin::beside)."""
    timeline = [
        (run["name"].split("/round:")[0], run["real_time"])
        for run in json.loads(Path(path).read_text())["benchmarks"]
        if "/round:" in run["name"]
    ]
    found = []
    for at, (what, time) in enumerate(timeline):
        if what != name:
            continue
        before = next((t for n, t in reversed(timeline[:at]) if n == reference), None)
        after = next((t for n, t in timeline[at:] if n == reference), None)
        neighbours = [t for t in (before, after) if t is not None]
        if neighbours:
            found.append(time / statistics.mean(neighbours))
    return statistics.median(found)


def rates(path):
    """{benchmark: items a second} of a Google Benchmark JSON file."""
    return {
        run["name"]: run["items_per_second"]
        for run in json.loads(Path(path).read_text())["benchmarks"]
        if "items_per_second" in run
    }


def th_app(deck, *words):
    done = subprocess.run(
        [ROOT / "build/bin/th_app", deck, *words], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 4):  # 4: does not fit here, and says so after the numbers
        sys.exit(
            f"scaling_model: th_app {' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def deck_keys(deck):
    """{section.key: value} of the deck with all its defaults."""
    keys, section = {}, ""
    for line in th_app(deck, "--check").splitlines():
        if line.startswith("["):
            section = line.strip("[] ")
        elif "=" in line and not line.startswith("#"):
            key, value = line.split("#")[0].split("=", 1)
            keys[f"{section}.{key.strip()}"] = value.strip()
    return keys


def slot_flops(keys):
    """(all products, those of linear layers) of one slot's forward and backward pass."""
    number = {
        name: int(keys[name])
        for name in (
            "model.d_model",
            "model.d_ff",
            "model.num_encoder_layers",
            "model.num_decoder_layers",
            "data.vocab_size",
            "data.batch_size",
            "data.synthetic_length",
        )
    }
    d, f, encoder, decoder, vocabulary, batch, length = number.values()
    rows = batch * length
    linear = (
        2
        * rows
        * (encoder * (4 * d * d + 2 * d * f) + decoder * (8 * d * d + 2 * d * f) + d * vocabulary)
    )
    attention = (encoder + 2 * decoder) * 4 * rows * length * d
    return 3 * (linear + attention), 3 * linear


def volumes(deck, ranks, slots):
    """(parameters, [bytes that a rank sends in a step, by stage]) by the plan."""
    text = th_app(deck, "--plan", f"plan.ranks={ranks}", f"train.micro_batches={slots}")
    sent = re.search(r"^bytes sent a step +(.*)$", text, re.M).group(1).split()
    return int(re.search(r"(\d+) parameters", text).group(1)), [
        float(mebi) * 2**20 for mebi in sent
    ]


def collect(folder):
    """The figures of one machine."""
    folder = Path(folder)
    steps = {ranks: medians(folder / f"step_np{ranks}.json") for ranks in (1, 2)}
    collectives = medians(folder / "collectives_np2.json")
    adam = rates(folder / "adam.json")
    all_flops, linear_flops = slot_flops(deck_keys(ROOT / "inputs/benchmark.in"))
    bandwidth = {
        f"{call} {way}": LARGE * 4 / 2 / collectives[f"{call}/{way}/{LARGE}"] / 1e9
        for call in ("exact reduce-scatter", "all-gather")
        for way in ("window", "messages")
    }
    products = steps[1]["products"] * all_flops / linear_flops

    def alone(ranks):
        return steps[ranks]["forward + backward"]

    def staged(ranks, stage):
        return alone(ranks) * beside(
            folder / f"step_np{ranks}.json", f"stage {stage}", "forward + backward"
        )

    return {
        "machine": next(
            (
                line.split(":")[1].strip()
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")
            ),
            "",
        ),
        "gemm_gflops": round(all_flops / products / 1e9, 1),
        "efficiency": round(products / steps[1]["forward + backward"], 3),
        "sent_gbytes": {name: round(value, 2) for name, value in bandwidth.items()},
        "latency_us": {
            way: round(1e6 * collectives[f"exact reduce-scatter/{way}/{SMALL}"], 2)
            for way in ("window", "messages")
        },
        "adam_elements": round(
            next(v for k, v in adam.items() if k.startswith("optimizer/adam/elements:16777216"))
        ),
        "measured": [
            {
                "ranks": ranks,
                "stage": stage,
                "seconds": round(staged(ranks, stage), 4),
                "forward_backward": round(alone(ranks), 4),
            }
            for ranks in (1, 2)
            for stage in STAGES
        ],
    }


def predict(figures, model, ranks, slots, stage, link):
    """Seconds of {compute, exchange, gather, latency, update} of one step. `link`: None (one node)
    or (bytes/s of a node, seconds a message, ranks a node)."""
    parameters, sent = volumes(model["deck"], ranks, slots)
    rounds = -(-slots // ranks)
    gathers = 2 * rounds if stage == 3 else 1 if stage > 0 or ranks > 1 else 0
    exchange = (
        sent[2] * rounds / (rounds + 1)
    )  # R P of gradients at every stage, of the (R + 1) P that stage 2 sends
    gather = sent[stage] - exchange
    rate = figures["sent_gbytes"]
    way, latency, remote, sharing = (
        "window",
        figures["latency_us"]["window"] * 1e-6,
        0.0,
        ranks,
    )  # ranks of a node
    if link:
        way, sharing = "messages", min(link[2], ranks)
        latency = link[1] * (ranks - 1)  # a message to each of the others
        remote = (ranks - sharing) / (ranks - 1) if ranks > 1 else 0.0

    def transfer(volume, call):
        # What all ranks of a node hold alike is there once: within it a gather moves nothing.
        local = (
            volume * (1 - remote) / (rate[f"{call} {way}"] * 1e9) if call != "all-gather" else 0.0
        )
        if not link:
            return local
        summed = (
            volume * remote / (rate["exact reduce-scatter window"] * 1e9)
            if call != "all-gather"
            else 0.0
        )  # the tree, over what arrived
        return local + volume * remote * sharing / link[0] + summed

    own = parameters / (
        sharing if stage == 0 else ranks
    )  # at stage 0 a node's ranks share the update
    return {
        "compute": rounds * model["flops"] / (figures["gemm_gflops"] * 1e9 * figures["efficiency"]),
        "exchange": transfer(exchange, "exact reduce-scatter"),
        "gather": transfer(gather, "all-gather"),
        "latency": latency * model["units"] * (rounds + gathers) if ranks > 1 else 0.0,
        "update": own / figures["adam_elements"],
    }


def measured_table(figures, model):
    lines = [
        (
            "| ranks | stage | forward + backward alone s | predicted s | measured s "
            "| predicted : measured |"
        ),
        "| ---: " * 6 + "|",
    ]
    for point in figures["measured"]:
        parts = predict(figures, model, point["ranks"], point["ranks"], point["stage"], None)
        seconds = point["forward_backward"] + sum(parts.values()) - parts["compute"]
        lines.append(
            f"| {point['ranks']} | {point['stage']} | {point['forward_backward']:.3f} | "
            f"{seconds:.3f} | {point['seconds']:.3f} | {seconds / point['seconds']:.2f} |"
        )
    return "\n".join(lines)


def scaling_table(figures, model, ranks_list, link, fixed_slots):
    lines = [
        (
            "| ranks | slots | stage | compute s | exchange s | gather s | latency s | update s "
            "| step s | tokens/s | efficiency |"
        ),
        "| ---: " * 11 + "|",
    ]
    for stage in (0, 2, 3):
        for ranks in ranks_list:
            slots = fixed_slots or ranks
            parts = predict(figures, model, ranks, slots, stage, link)
            total = sum(parts.values())
            lines.append(
                f"| {ranks} | {slots} | {stage} | "
                + " | ".join(f"{value:.3f}" for value in parts.values())
                + f" | {total:.3f} | {slots * model['slot_tokens'] / total:.0f} | "
                f"{parts['compute'] / total:.2f} |"
            )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", nargs="?", type=Path)
    parser.add_argument("--collect", type=Path, metavar="FOLDER")
    parser.add_argument("--deck", type=Path, default=ROOT / "inputs/benchmark.in")
    parser.add_argument("--ranks", default="1,2,4,8,16")
    parser.add_argument(
        "--slots", type=int, default=0, help="micro-batches of a step; 0: one a rank"
    )
    parser.add_argument("--link-gbytes", type=float, help="what a node sends, GB/s")
    parser.add_argument("--latency-us", type=float, default=2.0, help="of a message between nodes")
    parser.add_argument("--ranks-per-node", type=int, default=1)
    options = parser.parse_args()
    if options.collect:
        print(json.dumps(collect(options.collect), indent=1))
        return
    if not options.figures:
        parser.error("FIGURES.json is missing (--collect makes it)")
    figures, keys = json.loads(options.figures.read_text()), deck_keys(options.deck)
    model = {
        "deck": options.deck,
        "flops": slot_flops(keys)[0],
        "units": int(keys["model.num_encoder_layers"]) + int(keys["model.num_decoder_layers"]) + 3,
        "slot_tokens": 2 * int(keys["data.batch_size"]) * int(keys["data.synthetic_length"]),
    }
    link = (
        (options.link_gbytes * 1e9, options.latency_us * 1e-6, options.ranks_per_node)
        if options.link_gbytes
        else None
    )
    if not link:
        print(measured_table(figures, model) + "\n")
    print(
        scaling_table(
            figures, model, [int(n) for n in options.ranks.split(",")], link, options.slots
        )
    )


if __name__ == "__main__":
    main()
