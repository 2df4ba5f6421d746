#!/usr/bin/env python3
"""A corpus of 20 million lines: a run starts within 10 s from its index, and a node holds at most
200 MiB beyond what a run of the same model on a small corpus takes. `--pairs N` asks for another
size; run with --long."""

import os
import re
import sys
import time
from pathlib import Path

import th_run

PAIRS = int(sys.argv[sys.argv.index("--pairs") + 1]) if "--pairs" in sys.argv else 20_000_000
START_S, NODE_MIB = 10, 200
th_run.LIMIT_S = 3600  # of the encoder
del th_run.SMALL["data.batch_size"]  # runs give theirs, or a budget of tokens
KEYS = {"data__vocab_size": 2000, "train__epochs": 1, "checkpoint__every_epochs": 0}


def write_lines(path, pairs, first):
    """Lines of three to six words of 3000, none twice in a row."""
    block = 100_000
    lines = [
        " ".join(f"w{(first + i * 7 + k * k * 31) % 3000}" for k in range(3 + i % 4))
        for i in range(block)
    ]
    text = "\n".join(lines) + "\n"
    with open(path, "w", encoding="ascii") as out:
        for _ in range(pairs // block):
            out.write(text)
        out.write("".join(line + "\n" for line in lines[: pairs % block]))


def resident(pids):
    """Bytes that the processes hold together: pages that they share are counted once."""
    total = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(re.search(r"(?m)^Pss: +(\d+)", text)[1]) * 1024
    return total


def ranks_of(process):
    """The processes of th_app below a launcher, or itself."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            name = os.readlink(entry / "exe")
        except (OSError, ValueError):
            continue
        if name.endswith("/th_app") and process.pid in (parent, int(entry.name)):
            found.append(int(entry.name))
    return found


class LargeCorpus(th_run.ProgramTest):
    def measure(self, ranks, run, steps=40, **keys):
        """(seconds to the first step, the most that the ranks held up to `steps`)."""
        begin = time.monotonic()
        process = self.start(ranks=ranks, run__output_dir=run, **{**KEYS, **keys})
        self.wait_for_steps(process, 1, run)
        seconds, most = time.monotonic() - begin, 0
        path = self.folder / run / "metrics.jsonl"
        while path.read_text().count('"kind":"step"') < steps and process.poll() is None:
            try:
                most = max(most, resident(ranks_of(process)))
            except OSError:
                break
            time.sleep(0.1)
        th_run.end(process)
        return seconds, most

    def test_start_and_memory(self):
        for side, first in (("en", 0), ("fr", 5)):
            write_lines(self.folder / f"large.{side}", PAIRS, first)
            write_lines(self.folder / f"small.{side}", 100_000, first)
        large = {"data__train_source": "large.en", "data__train_target": "large.fr"}
        small = {"data__train_source": "small.en", "data__train_target": "small.fr"}
        held_out = {"data__valid_source": "", "data__valid_target": ""}
        begin = time.monotonic()
        words = self.overrides({**KEYS, **large, **held_out, "run__output_dir": "big"})
        self.program("th_corpus", "encode", th_run.DECK, *words)
        print(f"{PAIRS} pairs encoded in {time.monotonic() - begin:.0f} s")
        for budget in ({"data__batch_size": 32}, {"data__batch_tokens": 400}):
            for ranks in (1, 2):
                keys = {**budget, **held_out}
                name = f"{next(iter(budget))}.{ranks}"
                _, base = self.measure(ranks, f"base.{name}", **keys, **small)
                seconds, most = self.measure(
                    ranks, f"run.{name}", data__index_dir="big.index", **keys, **large
                )
                more = (most - base) / 2**20
                print(f"{budget} np {ranks}: first step after {seconds:.1f} s, {more:.0f} MiB more")
                self.assertLess(seconds, START_S)
                self.assertLess(more, NODE_MIB)


if __name__ == "__main__":
    if not th_run.LONG:
        print("skipped: give --long")
        sys.exit(th_run.SKIP)
    sys.argv = sys.argv[:1]
    th_run.main()
