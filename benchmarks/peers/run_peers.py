#!/usr/bin/env python3
"""Runs th_app and other engines in turn on the same model and shapes, and prints ratios of speed
and of memory as a Markdown table.

th_app runs inputs/benchmark.in; PyTorch's DDP and FSDP2 and DeepSpeed's ZeRO run peer_train.py
beside this file. Both sides of a pair run one after the other in every round, so that what else the
machine does falls on both; medians over the rounds. With --alternate SECONDS both run side by side,
one standing still while the other computes, in slices of so many seconds, one pair of slices a
round: on a machine whose speed changes within a minute.

The peers' Python: TH_PEERS_PYTHON, else benchmarks/peers/.venv, which is made from PyPI (torch,
deepspeed: some GB) where it is missing. With --results FILE measurements are kept in FILE, and the
table shows all that it holds: long comparisons can be taken in parts (--only).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from alternate import Run, slices

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGES = ("torch==2.11.0", "numpy", "deepspeed", "psutil")
LIMIT_S = 900  # a run that takes longer hangs
ENDLESS = 1000000  # steps of a run that is ended from outside
# name: (what th_app runs as, its overrides, the peer, its arguments)
PAIRS = {
    "stage0": ("stage 0", ["zero.stage=0"], "PyTorch DDP", ["--engine", "ddp"]),
    "stage2": ("stage 2", ["zero.stage=2"], "DeepSpeed ZeRO-2", ["--engine", "zero2"]),
    "stage3": ("stage 3", ["zero.stage=3"], "DeepSpeed ZeRO-3", ["--engine", "zero3"]),
    "fsdp": ("stage 3", ["zero.stage=3"], "PyTorch FSDP2", ["--engine", "fsdp2"]),
    "checkpointing": (
        "stage 0, full gradient checkpointing",
        ["zero.stage=0", "model.gradient_checkpointing=full"],
        "PyTorch DDP with checkpointing",
        ["--engine", "ddp", "--checkpoint"],
    ),
    "bf16": (
        "stage 0, bf16",
        ["zero.stage=0", "precision.dtype=bf16"],
        "PyTorch DDP, bf16 autocast",
        ["--engine", "ddp", "--bf16"],
    ),
}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each run")
    parser.add_argument(
        "--alternate",
        type=float,
        default=0,
        metavar="SECONDS",
        help="slices of two runs side by side in place of whole runs; above two steps",
    )
    parser.add_argument(
        "--only", default=",".join(PAIRS), help=f"pairs, with commas: {', '.join(PAIRS)}"
    )
    parser.add_argument("--results", type=Path, help="JSON file of measurements, added to")
    options = parser.parse_args()
    unknown = [name for name in options.only.split(",") if name not in PAIRS]
    if unknown:
        parser.error(f"--only: unknown {', '.join(unknown)}; there are {', '.join(PAIRS)}")
    return options


def say(text):
    print(text, file=sys.stderr, flush=True)


def peers_python():
    """The Python that has the peers; makes one where none is given."""
    given = os.environ.get("TH_PEERS_PYTHON")
    python = Path(given) if given else HERE / ".venv" / "bin" / "python"
    if not given and not (HERE / ".venv" / ".complete").exists():
        say(f"making {HERE / '.venv'} with {', '.join(PACKAGES)}")
        subprocess.run([sys.executable, "-m", "venv", HERE / ".venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (HERE / ".venv" / ".complete").touch()
    if (
        subprocess.run(
            [python, "-c", "import torch, deepspeed"], capture_output=True, check=False
        ).returncode
        != 0
    ):
        sys.exit(
            f"run_peers: {python} can't import torch and deepspeed; set TH_PEERS_PYTHON to a "
            "Python that can"
        )
    return python


def environment():
    """The variables of tools/run_env.sh, and what the peers want on a CPU."""
    script = f'. "{ROOT}/tools/run_env.sh" && env -0'
    pairs = subprocess.run(
        ["bash", "-c", script], check=True, capture_output=True, text=True
    ).stdout.split("\0")
    return {**dict(pair.split("=", 1) for pair in pairs if "=" in pair), "DS_ACCELERATOR": "cpu"}


def run(command, env):
    done = subprocess.run(
        [str(word) for word in command],
        env=env,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-12:])
        raise RuntimeError(
            f"{' '.join(map(str, command))} ended with code {done.returncode}:\n{tail}"
        )
    return done.stdout


def th_app_command(overrides, options, folder, steps):
    return [
        "mpirun",
        "-np",
        options.ranks,
        ROOT / "build/bin/th_app",
        ROOT / "inputs/benchmark.in",
        *overrides,
        f"run.output_dir={folder}/run",
        f"run.warmup_steps={options.warmup}",
        f"train.max_steps={steps}",
        "monitor.tensorboard=false",
    ]


def peer_command(words, options, python, steps):
    return [
        python,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        options.ranks,
        HERE / "peer_train.py",
        *words,
        "--warmup",
        options.warmup,
        "--steps",
        steps,
    ]


def run_th_app(overrides, options, env):
    with tempfile.TemporaryDirectory(prefix="th-peers.") as folder:
        run(th_app_command(overrides, options, folder, options.warmup + options.steps), env)
        summary = json.loads(Path(folder, "run", "metrics.jsonl").read_text().splitlines()[-1])
    return {
        "tokens_per_second": summary["tokens_per_second"],
        "peak_rss_bytes": max(summary["peak_rss_bytes"]),
    }


def run_peer(words, options, env, python):
    out = run(peer_command(words, options, python, options.steps), env)
    record = json.loads(
        next(line for line in reversed(out.splitlines()) if line.startswith('{"engine"'))
    )
    return {key: record[key] for key in ("tokens_per_second", "peak_rss_bytes")}


def read_seconds(file):
    """Seconds of each step so far, of th_app's metrics.jsonl or of peer_train.py --step-times."""
    if not file.exists():
        return []
    text = file.read_text()
    records = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return [record["seconds"] for record in records if record["kind"] == "step"]


def alternate(overrides, words, options, env, python):
    """Yields the measurements of a pair, slice by slice."""
    tokens = None
    with tempfile.TemporaryDirectory(prefix="th-peers.") as folder:
        metrics, times = Path(folder, "run", "metrics.jsonl"), Path(folder, "peer.jsonl")

        def th_app():
            return Run(
                th_app_command(overrides, options, folder, ENDLESS),
                env,
                lambda: read_seconds(metrics),
                Path(folder, "th_app.log"),
            )

        def peer():
            command = [*peer_command(words, options, python, ENDLESS), "--step-times", times]
            return Run(command, env, lambda: read_seconds(times), Path(folder, "peer.log"))

        for seconds, rss in slices(
            th_app, peer, options.warmup, options.rounds, options.alternate, LIMIT_S
        ):
            if tokens is None:
                first = json.loads(metrics.read_text().splitlines()[0])
                tokens = first["source_tokens"] + first["target_tokens"]
            yield {
                side: {"tokens_per_second": tokens / s, "peak_rss_bytes": b}
                for side, s, b in zip(("th_app", "peer"), seconds, rss)
            }


def whole_runs(overrides, words, options, env, python):
    for _ in range(options.rounds):
        yield {
            "th_app": run_th_app(overrides, options, env),
            "peer": run_peer(words, options, env, python),
        }


def refusal(overrides):
    """Why this build refuses a deck with these overrides, in its own words; empty where it takes
    it."""
    done = subprocess.run(
        [ROOT / "build/bin/th_app", ROOT / "inputs/benchmark.in", *overrides, "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else (done.stderr or done.stdout).strip().splitlines()[-1]


def measure(names, options, results, env, python):
    skipped = {}
    for name in names:
        why = refusal(PAIRS[name][1])
        if why:
            skipped[name] = f"this th_app refuses it: {why}"
    way = alternate if options.alternate > 0 else whole_runs
    pairs = {
        name: way(PAIRS[name][1], PAIRS[name][3], options, env, python)
        for name in names
        if name not in skipped
    }
    # Whole runs: all pairs in each round. Side by side: a pair to its end, since its two runs keep
    # their memory.
    turns = (
        [name for name in pairs for _ in range(options.rounds)]
        if options.alternate > 0
        else list(pairs) * options.rounds
    )
    for name in turns:
        if name in skipped:
            continue
        try:
            pair = next(pairs[name], None)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            skipped[name] = str(error)
            continue
        if pair is None:
            continue
        results.setdefault(name, []).append({"ranks": options.ranks, **pair})
        say(
            f"{name}: th_app {pair['th_app']['tokens_per_second']:.0f}, peer "
            f"{pair['peer']['tokens_per_second']:.0f} tokens/s"
        )
        if options.results:
            options.results.write_text(json.dumps(results, indent=1) + "\n")
    for pair in pairs.values():
        pair.close()
    return skipped


def table(results, ranks):
    lines = [
        (
            f"{ranks} ranks of one thread, medians; speed: th_app to peer (more is better), "
            "memory: peak resident set of the largest rank (less is better)"
        ),
        "",
        (
            "| th_app | peer | th_app tokens/s | peer tokens/s | speed ratio "
            "| th_app MiB | peer MiB | memory ratio | runs |"
        ),
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, (mine, _, peer, _) in PAIRS.items():
        runs = [r for r in results.get(name, []) if r["ranks"] == ranks]
        if not runs:
            continue
        speed = {
            side: statistics.median(r[side]["tokens_per_second"] for r in runs)
            for side in ("th_app", "peer")
        }
        rss = {
            side: statistics.median(r[side]["peak_rss_bytes"] for r in runs) / 2**20
            for side in ("th_app", "peer")
        }
        ratio = statistics.median(
            r["th_app"]["tokens_per_second"] / r["peer"]["tokens_per_second"] for r in runs
        )
        lines.append(
            f"| {mine} | {peer} | {speed['th_app']:.0f} | {speed['peer']:.0f} | {ratio:.2f} | "
            f"{rss['th_app']:.0f} | {rss['peer']:.0f} | "
            f"{rss['th_app'] / rss['peer']:.2f} | {len(runs)} |"
        )
    return "\n".join(lines)


def main():
    options = arguments()
    if not (ROOT / "build/bin/th_app").exists():
        sys.exit("run_peers: build/bin/th_app is missing: tools/build.sh makes it")
    python, env = peers_python(), environment()
    results = (
        json.loads(options.results.read_text())
        if options.results and options.results.exists()
        else {}
    )
    skipped = measure(options.only.split(","), options, results, env, python)
    print(table(results, options.ranks))
    for name, reason in skipped.items():
        print(f"\nSkipped: {PAIRS[name][0]} against {PAIRS[name][2]}: {reason}")
    sys.exit(1 if any("ended with code" in reason for reason in skipped.values()) else 0)


if __name__ == "__main__":
    main()
