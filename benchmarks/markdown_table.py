#!/usr/bin/env python3
"""markdown_table.py FILE.json: a Google Benchmark JSON file as a Markdown table, a row a benchmark,
a column for each counter that occurs."""

import json
import re
import sys
from pathlib import Path

COUNTERS = {
    "items_per_second": ("G elements/s", 1e-9),
    "bytes_per_second": ("GB/s", 1e-9),
    "GFLOP/s": ("GFLOP/s", 1.0),
    "rows/s": ("k rows/s", 1e-3),
}


def table(runs, items=None):
    """`items`: another (title, factor) for items_per_second."""
    counters = {**COUNTERS, **({"items_per_second": items} if items else {})}
    present = [name for name in counters if any(name in run for run in runs)]
    titles = [counters[name][0] for name in present]
    lines = [
        "| benchmark | time | " + "".join(f"{title} | " for title in titles),
        "| --- | ---: |" + " ---: |" * len(present),
    ]
    for run in runs:
        name = re.sub(r"/(min_time:[\d.]+|real_time)", "", run["name"])
        cells = "".join(
            f" {run[counter] * counters[counter][1]:.2f} |" if counter in run else " |"
            for counter in present
        )
        lines.append(
            f"| {name} | {run['real_time']:.{2 if run['real_time'] < 100 else 0}f} "
            f"{run['time_unit']} |{cells}"
        )
    return "\n".join(line.rstrip() for line in lines)


def main():
    path = Path(sys.argv[1])
    runs = [
        run
        for run in json.loads(path.read_text())["benchmarks"]
        if run.get("run_type", "iteration") == "iteration"
    ]
    if not runs:
        sys.exit(f"markdown_table: {path} holds no measurements")
    print(table(runs, ("M sentences/s", 1e-6) if path.stem == "batcher" else None))


if __name__ == "__main__":
    main()
