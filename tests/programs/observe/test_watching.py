#!/usr/bin/env python3
"""What a run tells of itself while it goes on: progress lines, and a rank that is slower than the
others."""

import os
import re
import signal
import time
from pathlib import Path

import th_run

LINE = (
    r"(?m)Step {} \(epoch {}, {}/6\): loss \d+\.\d{{4}}, \d+ tokens/s, \d+\.\d\d [MG]iB, .* left$"
)


class Watching(th_run.ProgramTest):
    def test_a_line_each_so_many_steps(self):
        out = self.train(ranks=2, train__epochs=2, monitor__log_every_steps=4).out
        for step, epoch, place in ((4, 0, 4), (8, 1, 2), (12, 1, 6)):
            self.assertRegex(out, LINE.format(step, epoch, place))
        self.assertEqual(len(re.findall(r"(?m)^Step \d+ \(epoch", out)), 3)
        self.assertIn(" 0 s left", out)
        quiet = self.train(ranks=2, train__epochs=2)
        self.assertNotRegex(quiet.out, r"(?m)^Step \d+ \(epoch", "a line a minute, and no bar")

    def rank_of(self, number):
        """The process of a rank that was started in this test's folder."""
        wanted = f"{th_run.rank_variable()}={number}".encode()
        for entry in Path("/proc").iterdir():
            try:
                if (entry / "cwd").resolve() == self.folder.resolve() and wanted in (
                    entry / "environ"
                ).read_bytes().split(b"\0"):
                    return int(entry.name)
            except OSError:
                continue
        self.fail(f"there is no process of rank {number}")

    def slow_down(self, process, by):
        """A generator: while it is asked, the process takes (1 + by) times as long as it would."""
        stopped = running = 0.0
        while True:
            stop = stopped < by * running
            os.kill(process, signal.SIGSTOP if stop else signal.SIGCONT)
            begin = time.monotonic()
            time.sleep(0.003 if stop else 0.01)
            os.kill(process, signal.SIGCONT)
            if stop:
                stopped += time.monotonic() - begin
            else:
                running += time.monotonic() - begin
            yield

    @th_run.unittest.skipUnless(th_run.LONG, "goes by the clock, on a quiet machine: label long")
    def test_a_rank_that_is_slower_by_30_percent_is_named_by_line_and_verdict(self):
        """By the warning, by the verdict on the trace of some of the steps, and by that on the
        run."""
        process = self.start(
            ranks=3,
            train__epochs=100000,
            train__micro_batches=9,
            data__batch_size=16,
            monitor__straggler_factor=1.15,
            model__d_model=128,
            data__valid_source="",
            data__valid_target="",
            checkpoint__every_epochs=0,
            profile__enabled="true",
            profile__first_step=30,
            profile__steps=150,
        )
        self.wait_for_steps(process, 20)
        log = self.folder / "out" / "run.log"
        slowed = self.slow_down(self.rank_of(1), 0.3)
        end_of_wait = time.monotonic() + th_run.LIMIT_S
        waiting = (
            r"warning: rank 1 on \S+ is slower than the others, which wait for it: compute took",
            r"(?s)Time of steps 30 to 179, 3 ranks, .*?Verdict: [\d.]+ % of a step is waiting for "
            r"rank 1 on \S+, whose compute takes 1\.\d+ times the median rank's\. Look at that ",
        )
        while not all(re.search(pattern, log.read_text()) for pattern in waiting):
            self.assertIsNone(process.poll(), self.started_log())
            self.assertLess(time.monotonic(), end_of_wait, log.read_text()[-3000:])
            for _ in range(20):
                next(slowed)
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.wait(th_run.LIMIT_S), 75, self.started_log())
        text = log.read_text()
        self.assertNotRegex(text, r"rank [02] on \S+ is slower than the others")
        self.assertRegex(
            text, r"(?s)Time of steps 1 to .*Verdict: [\d.]+ % of a step is waiting for rank 1 "
        )

    def test_the_end_of_a_run_tells_where_its_time_went(self):
        out = self.train(ranks=2, train__epochs=2).out
        self.assertRegex(
            out,
            r"(?m)^Time of steps 1 to 12, 2 ranks, [\d.]+ ms each: compute [\d.]+ %, "
            r"communication [\d.]+ %.*, waiting for other ranks [\d.]+ %, waiting for data [\d.]+",
        )
        self.assertRegex(out, r"(?m)^Verdict: .*\.$")
        alone = self.train(train__epochs=2, run__warmup_steps=2).out
        self.assertRegex(alone, r"(?m)^Time of steps 3 to 12, 1 rank, ")
        self.assertNotIn("communication", re.search("(?m)^Time of.*", alone).group())
        self.assertNotIn("Verdict", self.train(train__max_steps=9).out, "too few to tell")

    def test_a_slow_rank_is_named_with_host_and_phase(self):
        process = self.start(
            ranks=3,
            train__epochs=100000,
            monitor__straggler_factor=2,
            data__valid_source="",
            data__valid_target="",
            checkpoint__every_epochs=0,
        )
        self.wait_for_steps(process, 20)
        rank = self.rank_of(1)
        log = self.folder / "out" / "run.log"
        pattern = (
            r"warning: rank 1 on \S+ is slower than the others, which wait for it: compute took "
            r"[\d.]+ ms a micro-batch in steps \d+ to \d+, [\d.]+ ms on the median rank"
        )
        end_of_wait = time.monotonic() + th_run.LIMIT_S
        while not re.search(pattern, log.read_text()):
            self.assertIsNone(process.poll(), self.started_log())
            self.assertLess(time.monotonic(), end_of_wait, log.read_text()[-3000:])
            os.kill(rank, signal.SIGSTOP)
            time.sleep(0.18)
            os.kill(rank, signal.SIGCONT)
            time.sleep(0.02)
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.wait(th_run.LIMIT_S), 75, self.started_log())


if __name__ == "__main__":
    th_run.main()
