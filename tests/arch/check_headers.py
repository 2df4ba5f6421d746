#!/usr/bin/env python3
"""check_headers.py ROOT COMPILER INCLUDE_DIR,… [--all]: each header that needs no LibTorch compiles
alone, and each header says #pragma once.

A header that is the first include of a source meets the compiler alone in a build without TH_UNITY
(the preset dev), but for the standard headers that are precompiled there. So without --all such a
header is not compiled here: its names of the standard library are looked up as text, and the
others are compiled. --all compiles every header.
"""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]', re.M)
# The standard header that brings a name; others may bring it too, but do not have to.
BRINGS = {
    "algorithm": "find max min transform",
    "array": "array",
    "atomic": "atomic atomic_flag",
    "bitset": "bitset",
    "chrono": "chrono",
    "cmath": "cos exp floor isfinite llround log lround pow sin sqrt",
    "condition_variable": "condition_variable",
    "cstring": "memcpy memset",
    "deque": "deque",
    "exception": "exception_ptr",
    "filesystem": "filesystem",
    "fstream": "ofstream ifstream",
    "functional": "function",
    "limits": "numeric_limits",
    "map": "map",
    "memory": "make_shared make_unique shared_ptr unique_ptr",
    "mutex": "lock_guard mutex recursive_mutex unique_lock",
    "optional": "nullopt optional",
    "set": "set",
    "span": "span",
    "string": "string to_string u32string",
    "string_view": "string_view",
    "thread": "thread",
    "tuple": "apply tuple",
    "variant": "variant",
    "vector": "vector",
}
HEADER_OF = {name: header for header, names in BRINGS.items() for name in names.split()}
# string and its views, and sizes and integers of fixed width, come with nearly every header.
ALSO = {"string_view": {"string", "filesystem"}, "string": {"filesystem"}}
everything = "--all" in sys.argv
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


def first_includes():
    """The headers that a source of the programs includes before anything else."""
    found = set()
    for source in (root / "src").rglob("*.cpp"):
        first = INCLUDE.search(source.read_text(encoding="utf-8"))
        if first:
            found.add(root / "include" / first.group(1))
    return found


def misplaced(header):
    """A complaint where src/X.cpp is there and does not include th/X.hpp first."""
    source = root / "src" / header.relative_to(root / "include" / "th").with_suffix(".cpp")
    if not source.is_file() or header in leading:
        return None
    return f"{source.relative_to(root)}: its first include is to be its own header"


def reached(header, seen):
    """Every header that comes with this one, as far as the project's own headers tell."""
    for included in INCLUDE.findall(header.read_text(encoding="utf-8")):
        if included not in seen:
            seen.add(included)
            child = root / "include" / included
            if child.is_file():
                reached(child, seen)
    return seen


def unbrought(header):
    """Names of the standard library whose header comes with none of the includes."""
    text = re.sub(r"//.*", "", header.read_text(encoding="utf-8"))
    brought = reached(header, set())
    missing = {
        f"std::{name} needs <{HEADER_OF[name]}>"
        for name in re.findall(r"\bstd::(\w+)", text)
        if name in HEADER_OF and not brought & {HEADER_OF[name], *ALSO.get(HEADER_OF[name], ())}
    }
    return [f"{header.relative_to(root)}: {what}" for what in sorted(missing)]


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
leading = first_includes()
problems += [p for p in map(misplaced, headers) if p]
problems += [p for h in headers for p in unbrought(h)]
without_torch = [h for h in headers if not needs_torch(h, {h})]
alone = [h for h in without_torch if everything or h not in leading]
with ThreadPoolExecutor(2) as pool:
    problems += [p for p in pool.map(compile_alone, alone) if p]
print(
    "\n".join(problems)
    if problems
    else f"{len(alone)} of {len(headers)} headers compiled alone; "
    f"{len(headers) - len(without_torch)} need LibTorch, "
    f"{len(without_torch) - len(alone)} lead a source"
)
sys.exit(1 if problems or not alone else 0)
