#!/usr/bin/env python3
"""run_page.py ROOT BIN PAGE [--long]: runs every ```sh block of a page, one after the other, in a
folder that looks like the source: inputs copied, tools and jobs linked, the programs in build/bin.
pages.py tells how a block is marked. Without --long a training is shortened by the keys of its
mark, and what is marked long is left out; with it everything runs as it stands."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pages

LIMIT_S = {False: 120, True: 6000}  # of a block; one that takes longer hangs
# Stands for th_app: keys behind a deck that is trained, unless they are given.
WRAPPER = """#!/bin/bash
for word; do
  case $word in --check|--replay*|--explain*|--help|-h|--version)
    exec "{app}" "$@" ;; esac
done
more=()
for key in $TH_PAGE_KEYS; do
  given=
  for word; do
    [[ ${{word#--}} == "${{key%%=*}}"=* ]] && given=yes
  done
  [ -n "$given" ] || more+=("$key")
done
exec "{app}" "$@" "${{more[@]}}"
"""


def make_folder(root, binaries, folder):
    (folder / "build" / "bin").mkdir(parents=True)
    for program in sorted(binaries.glob("th_*")):
        if program.name != "th_app":
            (folder / "build" / "bin" / program.name).symlink_to(program)
    wrapper = folder / "build" / "bin" / "th_app"
    wrapper.write_text(WRAPPER.format(app=binaries / "th_app"))
    wrapper.chmod(0o755)
    shutil.copytree(root / "inputs", folder / "inputs")
    for name in ("tools", "jobs", "docs", ".deps"):
        if (root / name).exists():
            (folder / name).symlink_to(root / name)


def environment(root):
    """That of a shell that has sourced tools/run_env.sh."""
    text = subprocess.run(
        ["bash", "-c", f'. "{root}/tools/run_env.sh" && env -0'], check=True, capture_output=True
    ).stdout.decode()
    return dict(pair.split("=", 1) for pair in text.split("\0") if "=" in pair)


def run(text, folder, variables, limit):
    """(exit code, output); the code is None where the commands did not end in time."""
    process = subprocess.Popen(
        ["bash", "-e", "-o", "pipefail", "-c", text],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=limit)
        return process.returncode, out
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        time.sleep(2)
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]


def absent_lines(expected, output):
    """The lines that the page shows and that the output has not."""
    lines = [line.strip() for line in output.splitlines()]
    for shown in filter(None, (line.strip() for line in expected.splitlines())):
        pattern = ".*".join(re.escape(part.strip()) for part in shown.split("…"))
        if not any(re.fullmatch(pattern.replace(r"\ ", r"\s+"), line) for line in lines):
            yield shown


def compare_with(page, other):
    """Fails where a translation has other commands than the page that runs them."""
    mine, theirs = pages.tested(page), pages.tested(pages.read_page(other))
    for number, (here, there) in enumerate(zip(mine, theirs), 1):
        if here != there:
            sys.exit(f"FAILED: {page.path}: block {number} differs from {other}:\n{here}\n{there}")
    if len(mine) != len(theirs):
        sys.exit(f"FAILED: {page.path} has {len(mine)} blocks, {other} {len(theirs)}")
    print(f"{page.path.name}: {len(mine)} blocks, the same as those of {other.name}")


class PageRun:
    def __init__(self, page, folder, variables, whole):
        self.page, self.folder, self.variables, self.whole = page, folder, variables, whole
        self.counts = {"run": 0, "shortened": 0, "long": 0, "skipped": 0, "outputs compared": 0}
        self.output = None  # of the block before, where it ran as it stands

    def fail(self, line, text):
        sys.exit(f"FAILED: {self.page.path}:{line}: {text}")

    def command(self, block):
        at = f"{self.page.path.name}:{block.line}"
        self.output = None
        if block.action == "skip":
            self.counts["skipped"] += 1
            return print(f"{at}: skipped: {block.reason}")
        if block.action == "long" and not self.whole:
            self.counts["long"] += 1
            return print(f"{at}: left to the label long")
        keys = block.keys if block.action == "long" or not self.whole else []
        begin = time.monotonic()
        code, out = self.run(block.text, keys)
        if code != block.code:
            told = f"exit code {code}, expected {block.code}"
            self.fail(block.line, f"{told}\n{block.text}\n{out}")
        self.counts["shortened" if keys else "run"] += 1
        seconds = f"{time.monotonic() - begin:.1f} s"
        print(f"{at}: {seconds}{', with ' + ' '.join(keys) if keys else ''}")
        self.output = None if keys else out

    def run(self, text, keys):
        variables = {**self.variables, "TH_PAGE_KEYS": " ".join(keys)}
        return run(text, self.folder, variables, LIMIT_S[self.whole])

    def shown(self, block):
        if self.output is None:
            return
        absent = list(absent_lines(block.text, self.output))
        if absent:
            lines = "\n".join(absent)
            self.fail(block.line, f"lines that do not come:\n{lines}\nof:\n{self.output}")
        self.counts["outputs compared"] += 1

    def all(self):
        for text in self.page.before:
            code, out = self.run(text, [])
            if code != 0:
                self.fail(1, f"before: exit code {code}\n{text}\n{out}")
        for block in self.page.blocks:
            if block.language == "sh":
                self.command(block)
            elif block.action == "output":
                self.shown(block)
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        print(f"{self.page.path.name}: {counts}")


def main():
    whole = "--long" in sys.argv
    root, binaries, path = (Path(word).resolve() for word in sys.argv[1:] if word != "--long")
    page = pages.read_page(path)
    if not page.commands():
        sys.exit(f"FAILED: {path} has no ```sh block")
    if page.same_as:
        return compare_with(page, path.parent / page.same_as)
    with tempfile.TemporaryDirectory(prefix="th-page.") as name:
        folder = Path(name)
        make_folder(root, binaries, folder)
        PageRun(page, folder, environment(root), whole).all()


if __name__ == "__main__":
    main()
