#!/usr/bin/env python3
"""check_traffic.py [--ranks 1,2,4,8] [--slots 0,8]: bytes that a rank sends in one step of
inputs/benchmark.in, measured (bytes_sent of two runs, of two and of three steps) against `--plan`,
as a Markdown table. Short sentences: the volume does not depend on the batch. Exit code 1 where
they differ.

The plan counts the block sums of the gradient norm and the losses too, which bytes_sent leaves out:
P/256/N + R numbers of 8 bytes to each of N-1 ranks.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN, DECK = ROOT / "build/bin/th_app", ROOT / "inputs/benchmark.in"
SMALL = [
    "data.batch_size=1",
    "data.synthetic_length=2",
    "monitor.tensorboard=false",
    "run.warmup_steps=0",
]
TOLERANCE_MIB = 0.06  # the plan prints tenths of a MiB


def run(command):
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode not in (0, 4):  # 4: the plan says that it does not fit
        sys.exit(
            f"{' '.join(map(str, command))} ended with code {done.returncode}:\n"
            f"{done.stdout}{done.stderr}"
        )
    return done.stdout


def bytes_sent(ranks, stage, slots, steps):
    with tempfile.TemporaryDirectory(prefix="th-traffic.") as folder:
        run(
            [
                "mpirun",
                "-np",
                ranks,
                BIN,
                DECK,
                *SMALL,
                f"zero.stage={stage}",
                f"train.micro_batches={slots}",
                f"train.max_steps={steps}",
                f"run.output_dir={folder}/run",
            ]
        )
        return json.loads(Path(folder, "run", "metrics.jsonl").read_text().splitlines()[-1])[
            "bytes_sent"
        ]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", default="1,2,4,8")
    parser.add_argument("--slots", default="0,8", help="micro-batches of a step; 0: one a rank")
    parser.add_argument("--stages", default="0,1,2,3")
    options = parser.parse_args()
    print(
        "| ranks | slots | stage | planned MiB | of it norm and losses "
        "| measured MiB (largest rank) |\n"
        "| ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    differ = 0
    for slots in map(int, options.slots.split(",")):
        for ranks in map(int, options.ranks.split(",")):
            text = run(
                [BIN, DECK, *SMALL, "--plan", f"plan.ranks={ranks}", f"train.micro_batches={slots}"]
            )
            planned = [
                float(word)
                for word in re.search(r"^bytes sent a step +(.*)$", text, re.M).group(1).split()
            ]
            rounds = -(-slots // ranks) if slots else 1
            parameters = int(re.search(r"(\d+) parameters", text).group(1))
            control = 8 * (ranks - 1) * (parameters / 256 / ranks + rounds) / 2**20
            for stage in map(int, options.stages.split(",")):
                sent = (
                    max(
                        b - a
                        for a, b in zip(
                            bytes_sent(ranks, stage, slots, 2), bytes_sent(ranks, stage, slots, 3)
                        )
                    )
                    / 2**20
                )
                print(
                    f"| {ranks} | {slots or ranks} | {stage} | {planned[stage]:.1f} | "
                    f"{control:.2f} | {sent:.1f} |",
                    flush=True,
                )
                differ += abs(planned[stage] - control - sent) > TOLERANCE_MIB
    print(f"\n{differ} differ" if differ else "\nAll agree.")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
