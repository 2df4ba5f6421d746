#!/usr/bin/env python3
"""Audits by exactness (run.audit_steps): a run's bits do not depend on them; one flipped bit of one
rank ends the run with code 7 before the update, in one line that names the rank, and the run goes
on from its last checkpoint with the bits of one that had no trouble. With --long also a sweep of a
hundred places, and ten thousand audits without a false alarm."""

import re
import shutil

import th_run

RANKS = 3
# The smallest run: an epoch has 6 steps of 8 micro-batches.
KEYS = {
    "model__d_model": 16,
    "model__num_heads": 2,
    "model__d_ff": 16,
    "data__valid_source": "",
    "data__valid_target": "",
    "data__num_workers": 0,
    "monitor__tensorboard": "false",
}
FOUND = r"error: step (\d+): the audit.* found that rank {} \("


class Audit(th_run.ProgramTest):
    def audited(self, flip, code=7, **keys):
        """A run with an audit in each step, a checkpoint after each, and a flipped bit."""
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        self.environment["TH_FLIP_BIT"] = flip
        result = self.train(
            **{
                "ranks": RANKS,
                "code": code,
                "train__max_steps": 12,
                "checkpoint__every_steps": 1,
                "checkpoint__keep_last": 2,
                "run__audit_steps": 1,
                **KEYS,
                **keys,
            }
        )
        del self.environment["TH_FLIP_BIT"]
        return result

    def assert_found(self, result, rank, *patterns):
        """The step that the audit ended; nothing was recorded or saved of it."""
        self.assert_one_message(result, FOUND.format(rank), *patterns)
        step = int(re.search(FOUND.format(rank), result.out + result.err).group(1))
        last = self.metrics(kind="step")[-1]["step"]
        self.assertEqual(int(last), step - 1)
        self.assertEqual(self.latest().name, f"step_{step - 1:08d}")
        log = (self.folder / "out" / "run.log").read_text()
        self.assertRegex(log, FOUND.format(rank))
        return step

    @th_run.unittest.skipIf(th_run.LONG, "the sweep follows")
    def test_audits_change_no_bit(self):
        for stage, more in (
            (0, {}),
            (3, {"precision__dtype": "fp16", "comm__overlap": "on"}),
        ):
            for name, every in (("plain", 0), ("audited", 2)):
                result = self.train(
                    ranks=RANKS,
                    zero__stage=stage,
                    train__max_steps=8,
                    run__audit_steps=every,
                    run__output_dir=name,
                    **KEYS,
                    **more,
                )
            self.assertIn("Audits: every 2 steps one of 8 micro-batches", result.out)
            self.assert_same_run("audited", "plain")
            self.assert_same_checkpoint("audited", "plain")
            summary = self.metrics("audited", "summary")[-1]
            for planned, measured in zip(summary["planned_bytes"], summary["measured_bytes"]):
                self.assertLessEqual(int(measured), 1.02 * int(planned))

    @th_run.unittest.skipIf(th_run.LONG, "the sweep follows")
    def test_each_kind_of_place_is_found_and_the_run_goes_on(self):
        self.train(ranks=2, train__max_steps=12, run__output_dir="whole", **KEYS)
        for place, rank, stage in (
            ("weights:2:1", 1, 0),
            ("activations:2:3", 2, 1),
            ("gradient:3:5", 0, 2),
            ("message:2:7", 1, 3),
        ):
            result = self.audited(f"{place}@{rank}", zero__stage=stage)
            self.assert_found(result, rank, r"rank \d+ \(\S+, cpu\)", "Nothing was updated")
            self.train(
                ranks=2,
                train__max_steps=12,
                checkpoint__resume="latest",
                run__audit_steps=3,
                zero__stage=stage,
                **KEYS,
            )
            self.assert_same_run("out", "whole")
            self.assert_same_checkpoint("out", "whole")

    @th_run.open_mpi_alone
    @th_run.unittest.skipIf(th_run.LONG, "the sweep follows")
    def test_a_lasting_flip_in_a_copy_is_found_at_the_next_audit(self):
        self.environment["OMPI_MCA_osc"] = "ucx"  # every rank has a copy of its own
        result = self.audited("copy:3:9@2", run__audit_steps=4, zero__stage=0)
        step = self.assert_found(result, 2, "holds other parameters", "rank 0", "rank 1")
        self.assertEqual(step, 4)

    @th_run.unittest.skipIf(th_run.LONG, "the sweep follows")
    def test_two_ranks_are_both_named_and_one_computes_twice(self):
        result = self.audited("gradient@1", ranks=2)
        self.assert_one_message(
            result, "error: ", r"rank 0 \(", r"rank 1 \(", "one of the two is wrong"
        )
        result = self.audited("gradient:2", ranks=0)
        self.assert_one_message(result, "error: ", r"rank 0 \(\S+, cpu\) computed two gradients")

    @th_run.unittest.skipIf(th_run.LONG, "the sweep follows")
    def test_what_is_no_place_is_refused(self):
        result = self.audited("somewhere@1", code=2)
        self.assert_one_message(result, "error: TH_FLIP_BIT is somewhere@1", "PLACE")

    @th_run.unittest.skipUnless(th_run.LONG, "takes minutes: label long")
    def test_a_hundred_places_are_all_found(self):
        places = ("weights", "activations", "gradient", "message")
        for number in range(100):
            place, rank = places[number % 4], number // 4 % RANKS
            flip = f"{place}:{1 + number % 3}:{1000 + 17 * number}@{rank}"
            with self.subTest(flip):
                result = self.audited(flip, zero__stage=number // 12 % 4, train__max_steps=40)
                self.assert_found(result, rank)

    @th_run.unittest.skipUnless(th_run.LONG, "takes minutes: label long")
    def test_ten_thousand_audits_raise_no_false_alarm(self):
        th_run.LIMIT_S = 3600
        for stage, dtype in ((0, "fp32"), (1, "bf16"), (2, "fp16"), (3, "fp32")):
            result = self.train(
                ranks=RANKS,
                zero__stage=stage,
                precision__dtype=dtype,
                train__max_steps=2500,
                train__epochs=500,
                run__audit_steps=1,
                checkpoint__every_epochs=0,
                run__output_dir=f"stage{stage}",
                **KEYS,
            )
            self.assertNotIn("the audit", result.out + result.err)
            self.assertEqual(len(self.metrics(f"stage{stage}", "step")), 2500)


if __name__ == "__main__":
    th_run.main()
