#!/usr/bin/env python3
"""comm.overlap and the keys of stage 3's gathers: the same run bit by bit, through saves, resumes
and stops; limits and warnings."""

import os
import re
import signal

import th_run

STEPS = 8  # an epoch of 6 steps with its validation, and a third of the next


class Overlap(th_run.ProgramTest):
    def test_the_same_run_with_and_without(self):
        self.train_once_for_all(train__max_steps=STEPS, comm__overlap="off")
        # mpi.exactness has every stage at one to eight ranks.
        cases = [
            (2, {"zero__stage": 0}),
            (3, {"zero__stage": 2}),
            (2, {"zero__stage": 3, "zero__prefetch_units": 2}),
            (3, {"zero__stage": 3, "zero__persistence_threshold": 20000}),
            (2, {"zero__stage": 3, "zero__max_live_parameters": 200000}),
        ]
        for ranks, keys in cases:
            with self.subTest(ranks=ranks, **keys):
                result = self.train(ranks=ranks, train__max_steps=STEPS, comm__overlap="on", **keys)
                self.assertIn("Communication beside compute: on (as the deck says", result.out)
                self.assert_same_run("out", "whole")
                self.assert_same_checkpoint("out", "whole")
                summary = self.metrics(kind="summary")[0]
                self.assertEqual(summary["planned_bytes"], summary["measured_bytes"])

    def test_a_resume_may_change_it(self):
        self.train_once_for_all(train__max_steps=STEPS, comm__overlap="off")
        self.train(ranks=2, train__max_steps=4, zero__stage=3, comm__overlap="on")
        result = self.train(
            ranks=2,
            train__max_steps=STEPS,
            zero__stage=2,
            comm__overlap="off",
            checkpoint__resume="latest",
        )
        self.assertNotIn(
            "The checkpoint was written as", result.out, "it is no part of the identity"
        )
        self.assert_same_run("out", "whole")

    def test_a_stop_signal_ends_it_with_a_checkpoint(self):
        keys = {"zero__stage": 3, "comm__overlap": "on", "zero__prefetch_units": 3}
        process = self.start(ranks=2, train__epochs=500, **keys)
        self.wait_for_steps(process, 3)
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.wait(th_run.LIMIT_S), 75, self.started_log())
        step = int(self.metrics(kind="step")[-1]["step"])
        self.train(
            train__epochs=500,
            train__max_steps=step + 3,
            checkpoint__resume="latest",
            **keys,
        )
        self.train(
            run__output_dir="whole",
            train__epochs=500,
            train__max_steps=step + 3,
            comm__overlap="off",
        )
        self.assert_same_run("out", "whole")

    def test_auto_says_what_it_found(self):
        out = self.train(train__max_steps=1).out
        self.assertRegex(
            out,
            r"Communication beside compute: (on|off) \(auto: [0-9]+ cores? for 1 rank with 1 "
            r"compute thread each\)",
        )
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            out = self.train(train__max_steps=1, run__output_dir="narrow").out
        finally:
            os.sched_setaffinity(0, before)
        self.assertIn(
            "Communication beside compute: off (auto: 1 core for 1 rank with 1 compute thread "
            "each)",
            out,
        )

    def test_a_limit_that_holds_no_unit_is_refused(self):
        result = self.train(ranks=2, code=2, zero__stage=3, zero__max_live_parameters=1000)
        self.assert_one_message(
            result,
            r"zero\.max_live_parameters: 1000 elements",
            r"gathers [0-9]+ at a time",
            r"allowed from [0-9]+",
        )
        self.assertFalse((self.folder / "out" / "metrics.jsonl").exists())
        least = int(re.search(r"allowed from ([0-9]+)", result.out + result.err).group(1))
        out = self.train(
            ranks=2,
            zero__stage=3,
            comm__overlap="on",
            zero__max_live_parameters=least,
            train__max_steps=1,
        ).out
        self.assertIn(f"0 units gathered ahead, at most {least} elements at a time", out)
        self.train(
            code=2,
            ranks=2,
            zero__stage=3,
            zero__max_live_parameters=least - 1,
            run__output_dir="less",
        )

    def test_units_ahead_without_overlap_are_a_warning(self):
        result = self.train(
            zero__stage=3, zero__prefetch_units=2, comm__overlap="off", train__max_steps=1
        )
        self.assert_one_message(result, "zero.prefetch_units has no effect: comm.overlap is off")

    def test_selfcheck_holds_with_it(self):
        out = self.program(
            "th_app", th_run.DECK, *self.overrides({"comm.overlap": "on"}), "--selfcheck", ranks=2
        ).out
        self.assertIn("All stages and kinds of recomputation give the same bits.", out)


if __name__ == "__main__":
    th_run.main()
