"""Two runs side by side of which one always stands still: what else a machine does, and its clock,
fall on both within seconds."""

import contextlib
import os
import re
import signal
import statistics
import subprocess
import time
from pathlib import Path


def tree(pid):
    """The process and all below it."""
    found = [pid]
    for at in found:
        with contextlib.suppress(OSError):
            found += [
                int(child) for child in Path(f"/proc/{at}/task/{at}/children").read_text().split()
            ]
    return found


class Run:
    """A command whose step times `read()` lists, in seconds; a step that was stopped on its way
    counts for nothing."""

    def __init__(self, command, env, read, log):
        self.read, self.log, self.name = read, log, str(command[0])
        with open(log, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def signal(self, number):
        for pid in tree(self.process.pid):
            with contextlib.suppress(OSError):
                os.kill(pid, number)

    def check(self):
        if self.process.poll() is not None:
            tail = "\n".join(
                self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
            )
            raise RuntimeError(f"{self.name} ended with code {self.process.returncode}:\n{tail}")

    def warm_up(self, steps, limit_s):
        begin = time.monotonic()
        while len(self.read()) < steps:
            self.check()
            if time.monotonic() - begin > limit_s:
                raise RuntimeError(
                    f"{self.name} ended with code 124: no {steps} steps in {limit_s} s"
                )
            time.sleep(0.2)
        self.signal(signal.SIGSTOP)

    def slice(self, seconds):
        """Mean seconds of the whole steps of a slice, None where there was none."""
        before = len(self.read())
        self.signal(signal.SIGCONT)
        time.sleep(seconds)
        self.check()
        self.signal(signal.SIGSTOP)
        whole = self.read()[before + 1 :]  # the first one stood still on its way
        return statistics.fmean(whole) if whole else None

    def peak_rss_bytes(self):
        """Of the largest process."""
        most = 0
        for pid in tree(self.process.pid):
            with contextlib.suppress(OSError):
                found = re.search(
                    r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
                )
                most = max(most, int(found[1]) * 1024 if found else 0)
        return most

    def end(self):
        self.signal(signal.SIGKILL)
        self.process.wait()


def slices(first, second, warmup, rounds, seconds, limit_s):
    """Yields pairs of mean step times of the two runs, given as functions that start them."""
    runs = []
    try:
        for start in (first, second):
            runs.append(start())
            runs[-1].warm_up(warmup, limit_s)
        for _ in range(rounds):
            times = [run.slice(seconds) for run in runs]
            if None not in times:
                yield times, [run.peak_rss_bytes() for run in runs]
    finally:
        for run in runs:
            run.end()
