#!/usr/bin/env python3
"""The course of a run's validation as a Markdown table, from its metrics.jsonl.

usage: tools/score_curve.py RUN [--metric bleu] [--at 38,39,40] [--every N]

  RUN      a run's output folder, or its metrics.jsonl
  --metric which metric of valid.metrics the second part is about (default: bleu)
  --at     values of the metric: the first validation that reaches each, its step and its time
  --every  one row of the table in so many validations (default: 1); the last one is always there

Minutes are those of steps and of the validation loss, summed over all parts of a run that was
resumed; the translation of validation text, saving, starting and the time between the parts do not
count, and a loss amid an epoch counts from the end of that epoch on.
Exit code 0, 2: wrong use, 3: no such records.
"""

import argparse
import json
import sys
from pathlib import Path


def records_of(run):
    path = run / "metrics.jsonl" if run.is_dir() else run
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def course(records):
    """Rows (step, epoch, minutes, {metric: value}) of each validation, in order."""
    before, within, step, epoch = 0.0, 0.0, 0, 0
    rows = {}

    def values(at):
        minutes = (before + within) / 60
        return rows.setdefault(at, (at, epoch, minutes, {}))[3]

    for one in records:
        if one["kind"] == "step":
            step, epoch = one["step"], one["epoch"]
            within += one["seconds"]
        elif one["kind"] == "epoch":
            before, within = before + one["seconds"], 0.0
            if one.get("valid_loss") is not None:
                values(step)["valid_loss"] = one["valid_loss"]
        elif one["kind"] == "eval" and one.get("set") == "valid":
            values(one["step"])[one["metric"]] = one["value"]
    return list(rows.values())


def table(rows, every):
    metrics = list(dict.fromkeys(name for row in rows for name in row[3]))
    yield f"| step | epoch | minutes | {' | '.join(metrics)} |"
    yield "| --- " * (3 + len(metrics)) + "|"
    for at, (step, epoch, minutes, values) in enumerate(rows):
        if at % every == every - 1 or at == len(rows) - 1:
            told = (values.get(name) for name in metrics)
            cells = " | ".join("" if value is None else f"{value:.4g}" for value in told)
            yield f"| {step} | {epoch} | {minutes:.1f} | {cells} |"


def first_reached(rows, metric, wanted):
    for value in wanted:
        reached = next((row for row in rows if (row[3].get(metric) or 0) >= value), None)
        if reached is None:
            yield f"{metric} {value:g}: not reached"
        else:
            yield f"{metric} {value:g}: step {reached[0]}, {reached[2]:.1f} minutes"


def main():
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("run", type=Path)
    parser.add_argument("--metric", default="bleu")
    parser.add_argument("--at", default="")
    parser.add_argument("--every", type=int, default=1)
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__.strip())
        return 0
    given = parser.parse_args()
    try:
        wanted = [float(value) for value in given.at.split(",") if value]
    except ValueError:
        parser.error(f"--at {given.at}: numbers with commas are wanted")
    if given.every < 1:
        parser.error(f"--every {given.every}: at least 1")
    try:
        rows = course(records_of(given.run))
    except (OSError, ValueError, KeyError) as error:
        print(f"score_curve: error: {given.run}: {error!r}", file=sys.stderr)
        return 3
    if not rows or not any(given.metric in row[3] for row in rows) and wanted:
        print(
            f"score_curve: error: {given.run} has no validation by {given.metric}", file=sys.stderr
        )
        return 3
    print("\n".join([*table(rows, given.every), *first_reached(rows, given.metric, wanted)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
