#!/usr/bin/env python3
"""check_headers.py ROOT COMPILER INCLUDE_DIR,…: each header that needs no LibTorch compiles alone,
and each header says #pragma once."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]', re.M)
root, compiler = Path(sys.argv[1]), sys.argv[2]
include_options = [f"-isystem{d}" for d in sys.argv[3].split(",") if d]


def needs_torch(header, seen):
    """Whether the header includes LibTorch, itself or through the project's headers."""
    for included in INCLUDE.findall(header.read_text(encoding="utf-8")):
        if re.match(r"(ATen|torch|c10)/", included):
            return True
        child = root / "include" / included
        if included.startswith("th/") and child.is_file() and child not in seen:
            seen.add(child)
            if needs_torch(child, seen):
                return True
    return False


def compile_alone(header):
    unit = f'#include "{header.relative_to(root / "include")}"\n'
    command = [
        compiler,
        "-std=c++20",
        "-fsyntax-only",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        f"-I{root / 'include'}",
        *include_options,
        "-x",
        "c++",
        "-",
    ]
    done = subprocess.run(command, input=unit, capture_output=True, text=True)
    return (
        f"{header.relative_to(root)} does not compile alone:\n{done.stderr}"
        if done.returncode
        else None
    )


headers = sorted((root / "include" / "th").rglob("*.hpp"))
problems = [
    f"{h.relative_to(root)}: no #pragma once"
    for h in headers
    if "#pragma once" not in h.read_text(encoding="utf-8")
]
alone = [h for h in headers if not needs_torch(h, {h})]
with ThreadPoolExecutor(2) as pool:
    problems += [p for p in pool.map(compile_alone, alone) if p]
print(
    "\n".join(problems)
    if problems
    else f"{len(alone)} of {len(headers)} headers compiled alone; the others need LibTorch"
)
sys.exit(1 if problems or not alone else 0)
