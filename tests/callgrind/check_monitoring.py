#!/usr/bin/env python3
"""check_monitoring.py TH_APP DECK: what watching a run costs, in instructions of its steps.

Two runs of a small model below valgrind's callgrind, which counts what Trainer's step and the
border behind it execute: one with everything that watches it (event files, a line for each step,
slow ranks), one with what a deck can switch off switched off. The difference, and the flight
record, which is always on, take at most 1 % of a step. 77 (skipped, with the reason) where
valgrind is absent.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT = 0.01  # of the instructions of a step
LIMIT_S = 800
SKIP = 77
MEASURED = ("th::train::Trainer::train_one()", "th::train::Trainer::agree()")
ALWAYS_ON = r"FlightRecord|HeldLog|TimeUse|StragglerWatch|MetricsWriter"
# A small model: the share falls with its size. One rank, whose main thread does everything.
KEYS = {
    "model.d_model": 128,
    "model.num_heads": 4,
    "model.num_encoder_layers": 2,
    "model.num_decoder_layers": 2,
    "model.d_ff": 256,
    "data.synthetic": "random_ids",
    "data.synthetic_length": 24,
    "data.vocab_size": 2000,
    "data.batch_size": 16,
    "data.num_workers": 0,
    "data.train_source": "",
    "data.train_target": "",
    "data.valid_source": "",
    "data.valid_target": "",
    "data.test_source": "",
    "data.test_target": "",
    "train.micro_batches": 2,
    "train.max_steps": 4,
    "checkpoint.every_epochs": 0,
    "comm.overlap": "off",
}
WATCHED = {"monitor.log_every_steps": 1, "monitor.straggler_factor": 1.5}
UNWATCHED = {
    "monitor.tensorboard": "false",
    "monitor.progress": "off",
    "monitor.straggler_factor": 0,
}


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIP)


def run(command, folder):
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    if done.returncode != 0:
        sys.exit(f"{command} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def count(app, deck, keys, folder):
    """({function: its own instructions}, all of them)."""
    out = Path(folder) / "callgrind.out"
    overrides = [f"{key}={value}" for key, value in {**KEYS, **keys}.items()]
    run(
        [
            "valgrind",
            "--tool=callgrind",
            "--collect-atstart=no",
            *(f"--toggle-collect={name}" for name in MEASURED),
            f"--callgrind-out-file={out}",
            app,
            deck,
            *overrides,
            "run.output_dir=out",
        ],
        folder,
    )
    total = int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M).group(1))
    text = run(["callgrind_annotate", "--threshold=100", "--auto=no", out], folder)
    own = {}
    for line in text.splitlines():
        found = re.match(r"\s*([\d,]+) \(\s*[\d.]+%\)\s+(\S.*)", line)
        if found:
            own[found.group(2)] = own.get(found.group(2), 0) + int(found.group(1).replace(",", ""))
    return own, total


def main():
    app, deck = sys.argv[1:]
    if shutil.which("valgrind") is None or shutil.which("callgrind_annotate") is None:
        skip("valgrind is not installed (apt-get install valgrind)")
    totals = []
    for keys in (WATCHED, UNWATCHED):
        with tempfile.TemporaryDirectory(prefix="th-callgrind.") as folder:
            own, total = count(app, deck, keys, folder)
        always = sum(value for name, value in own.items() if re.search(ALWAYS_ON, name))
        print(f"{keys}: {total} instructions, {always} of them in what is always on")
        if total == 0 or always == 0:
            sys.exit("callgrind counted nothing there: were the functions renamed?")
        totals.append(total)
    share = (totals[0] - totals[1] + always) / totals[1]
    print(f"watching takes {100 * share:.3f} % of a step, at most {100 * LIMIT:.0f} %")
    sys.exit(0 if share <= LIMIT else 1)


if __name__ == "__main__":
    main()
