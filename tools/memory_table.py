#!/usr/bin/env python3
"""The memory table of docs/memory.md, measured: model state and peak of a rank at ZeRO stages 0 to
3, as ratios to stage 0.

usage: tools/memory_table.py [--precision fp32|bf16|bf16r] [--ranks 1,2,4,8,16]
                             [--plan-ranks 64,256,1024] [KEY=VALUE…]

Runs one step of build/bin/th_app at each rank count and stage on random ids (measured by the
ledger: model_state_bytes and measured_bytes of the summary record), and asks --plan for the larger
rank counts. Prints Markdown. Needs mpirun and the variables of tools/run_env.sh.
"""

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TH_APP = ROOT / "build" / "bin" / "th_app"
# Wide enough that the state is what counts, small enough for 16 ranks on one machine: 15.9 M
# parameters.
MODEL = [
    "model.d_model=256",
    "model.num_heads=4",
    "model.num_encoder_layers=6",
    "model.num_decoder_layers=6",
    "model.d_ff=1024",
    "data.vocab_size=6000",
    "data.batch_size=4",
    "data.synthetic_length=16",
    "train.max_steps=1",
    "run.warmup_steps=0",
]
BYTES = {
    "fp32": ["16", "8+8/N", "4+12/N", "16/N"],
    "bf16": ["18", "6+12/N", "2+16/N", "18/N"],
    "bf16r": ["16", "4+12/N", "2+14/N", "16/N"],
}
STATE = ("parameters", "gradients", "master", "exp_avg", "exp_avg_sq")


def keys(arguments):
    short = ["precision.dtype=bf16"] if arguments.precision != "fp32" else []
    return (
        MODEL
        + short
        + (["precision.reduce_dtype=working"] if arguments.precision == "bf16r" else [])
        + arguments.keys
    )


def measured(ranks, stage, arguments):
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "mpirun",
            "-np",
            str(ranks),
            TH_APP,
            ROOT / "inputs" / "benchmark.in",
            *keys(arguments),
            f"zero.stage={stage}",
            f"run.output_dir={folder}/out",
        ]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        summary = json.loads((Path(folder) / "out" / "metrics.jsonl").read_text().splitlines()[-1])
        return max(summary["model_state_bytes"]), max(summary["measured_bytes"])


def planned(ranks, arguments):
    command = [
        TH_APP,
        ROOT / "inputs" / "benchmark.in",
        *keys(arguments),
        f"plan.ranks={ranks}",
        "--plan",
    ]
    text = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True
    ).stdout
    rows = {}
    for line in text.splitlines():
        name = line[:20].strip()
        numbers = [float(word) * 2**20 for word in re.findall(r"[0-9]+\.[0-9]+", line[20:])]
        if len(numbers) == 4 and name not in rows:
            rows[name] = numbers
    return [
        (sum(rows[name][stage] for name in STATE if name in rows), rows["total"][stage])
        for stage in range(4)
    ]


def row(ranks, how, stages):
    cells = [f"{state / 2**20:.1f} (x {stages[0][0] / state:.2f})" for state, _ in stages]
    peaks = [f"x {stages[0][1] / peak:.2f}" for _, peak in stages[1:]]
    print(f"| {ranks} | {how} | {' | '.join(cells)} | {' | '.join(peaks)} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--precision", choices=BYTES, default="fp32")
    parser.add_argument("--ranks", default="1,2,4,8,16")
    parser.add_argument("--plan-ranks", default="64,256,1024")
    parser.add_argument("keys", nargs="*")
    arguments = parser.parse_args()
    formulas = [f"stage {stage}: {text}" for stage, text in enumerate(BYTES[arguments.precision])]
    print(
        f"| N | | {' | '.join(formulas)} | peak, stage 1 | stage 2 | stage 3 |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    for ranks in filter(None, arguments.ranks.split(",")):
        row(ranks, "measured", [measured(int(ranks), stage, arguments) for stage in range(4)])
    for ranks in filter(None, arguments.plan_ranks.split(",")):
        row(ranks, "planned", planned(int(ranks), arguments))


if __name__ == "__main__":
    main()
