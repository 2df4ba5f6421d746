#!/usr/bin/env python3
"""check_sizes.py ROOT: no source, script or test above 400 lines."""

import sys
from pathlib import Path

LIMIT = 400
SUFFIXES = {".hpp", ".cpp", ".h", ".cu", ".py", ".sh", ".cmake", ".sbatch"}
root = Path(sys.argv[1])
sizes = {}
for top in ("include", "src", "tests", "tools", "jobs", "benchmarks", "cmake"):
    for path in (root / top).rglob("*"):
        hidden = any(
            part.startswith(".") for part in path.relative_to(root).parts
        )  # a virtual environment is not ours
        if path.suffix in SUFFIXES and path.is_file() and not hidden:
            sizes[path.relative_to(root)] = path.read_bytes().count(b"\n")
long_ones = sorted((lines, path) for path, lines in sizes.items() if lines > LIMIT)
for lines, path in long_ones:
    print(f"{path}: {lines} lines, at most {LIMIT} are allowed")
print(f"{len(sizes)} files, the longest has {max(sizes.values(), default=0)} lines")
sys.exit(1 if long_ones or not sizes else 0)
