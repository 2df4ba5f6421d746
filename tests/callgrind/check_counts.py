#!/usr/bin/env python3
"""check_counts.py PROGRAM COMPILER BUILD_TYPE [--update]: instructions that each kernel executes,
counted by valgrind's callgrind, against the committed table counts.json at +-5 %: a regression
shows without a clock.

The counts belong to a compiler's major version, a build type and an instruction set (valgrind hides
AVX-512 from the program, so the kernels take their AVX2 form): the table is keyed by them. 77
(skipped, with the reason) where valgrind is absent or the table has no such key.
--update writes the counts of this machine into the table: after a change that is meant to change
them.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOLERANCE = 0.05  # of the instructions: between builds of one compiler the counts differ by less
LIMIT_S = 120
SKIP = 77
TABLE = Path(__file__).resolve().parent / "counts.json"


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIP)


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def count(program):
    """({kernel: instructions}, instruction set): one run below callgrind for each kernel."""
    isa, *kernels = run(["valgrind", "--quiet", "--tool=none", program]).split()
    counts = {}
    with tempfile.TemporaryDirectory(prefix="th-callgrind.") as folder:
        for kernel in kernels:
            out = Path(folder) / kernel
            run(
                [
                    "valgrind",
                    "--tool=callgrind",
                    "--collect-atstart=no",
                    "--toggle-collect=th_measured",
                    f"--callgrind-out-file={out}",
                    program,
                    kernel,
                ]
            )
            counts[kernel] = int(
                re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M).group(1)
            )
    return counts, isa


def compare(counts, expected):
    """The problems, a line each; prints the table."""
    problems = []
    for name in sorted(counts.keys() | expected.keys()):
        seen, wanted = counts.get(name), expected.get(name)
        if seen is None or wanted is None:
            problems.append(
                f"{name}: "
                + (
                    "no longer measured"
                    if seen is None
                    else f"{seen} instructions, not in the table"
                )
            )
            continue
        change = seen / wanted - 1
        print(f"{name:28} {seen:12} {wanted:12} {100 * change:+7.2f} %")
        if abs(change) > TOLERANCE:
            problems.append(
                f"{name}: {seen} instructions, the table has {wanted} ({100 * change:+.1f} %, at "
                f"most {100 * TOLERANCE:.0f} %)"
            )
    return problems


def main():
    update = "--update" in sys.argv
    program, compiler, build_type = [a for a in sys.argv[1:] if a != "--update"]
    if shutil.which("valgrind") is None:
        skip("valgrind is not installed (apt-get install valgrind)")
    if build_type != "Release":
        skip(f"the counts are of Release builds, this one is {build_type}")
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    if not update and not any(key.startswith(f"{compiler} ") for key in table):
        skip(f"counts.json has no counts of {compiler}; it has {', '.join(table) or 'none'}")
    counts, isa = count(program)
    if not counts or min(counts.values()) == 0:
        sys.exit(f"{program} names no kernels, or callgrind counted nothing in one")
    key = f"{compiler} {isa}"
    if update:
        table[key] = dict(sorted(counts.items()))
        TABLE.write_text(json.dumps(table, indent=2) + "\n")
        print(f"{TABLE}: {len(counts)} counts of {key}")
        return
    if key not in table:
        skip(f"counts.json has no counts of {key}; it has {', '.join(table)}")
    problems = compare(counts, table[key])
    print(
        "\n".join(problems)
        if problems
        else f"{len(counts)} kernels of {key}: all within {100 * TOLERANCE:.0f} %"
    )
    if problems:
        print(
            f"When the change is meant: {sys.argv[0]} {program} '{compiler}' {build_type} "
            "--update, and say why in the commit."
        )
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
