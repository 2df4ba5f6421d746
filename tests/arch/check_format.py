#!/usr/bin/env python3
"""check_format.py ROOT: fails where clang-format 14 would change a C++ or CUDA source.

Exit code 77, with the reason, where clang-format 14 is not installed: every version breaks lines
in its own way, so that another one proves nothing.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MAJOR = 14
SKIPPED = 77
SUFFIXES = {".hpp", ".h", ".cpp", ".cu", ".cuh", ".inc"}
FILES_A_CALL = 32


def find_formatter():
    """(program, why there is none): one of the two is None."""
    versions = []
    for name in (f"clang-format-{MAJOR}", "clang-format"):
        program = shutil.which(name)
        if program is None:
            continue
        text = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
        version = re.search(r"version (\d+)", text)
        if version and int(version.group(1)) == MAJOR:
            return program, None
        versions.append(f"{program} is {text.strip() or 'silent on its version'}")
    seen = "; ".join(versions) or "no clang-format is installed"
    return None, f"clang-format {MAJOR} is needed (Debian's clang-format-{MAJOR}), {seen}"


def sources_of(root):
    for top in ("include", "src", "tests", "tools", "benchmarks"):
        for path in sorted((root / top).rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.suffix in SUFFIXES and path.is_file() and not hidden:
                yield str(path.relative_to(root))


def main(root):
    program, reason = find_formatter()
    if program is None:
        print(f"skipped: {reason}")
        return SKIPPED
    sources = list(sources_of(root))
    calls = [sources[at : at + FILES_A_CALL] for at in range(0, len(sources), FILES_A_CALL)]

    def check(files):
        command = [program, "--style=file", "--dry-run", "--Werror", *files]
        return subprocess.run(command, cwd=root, capture_output=True, text=True)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = list(pool.map(check, calls))
    print("".join(result.stderr for result in results), end="")
    failed = any(result.returncode for result in results) or not sources
    print(f"{len(sources)} sources, {'not all formatted' if failed else 'all formatted'}")
    if failed:
        print(f"{program} -i FILE formats a file")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
