#!/usr/bin/env python3
"""16-bit training: the same bits at every rank count and stage and across a resume, the loss scale
of fp16, and what overflow leads to."""

import json

import th_run


class Precision(th_run.ProgramTest):
    def test_a_run_in_bf16_goes_on_bit_for_bit_at_another_rank_count_and_stage(self):
        keys = {"precision__dtype": "bf16", "train__epochs": 2}
        self.train(ranks=2, zero__stage=1, run__output_dir="whole", **keys)
        self.train(ranks=3, zero__stage=2, train__max_steps=8, **keys)
        result = self.train(ranks=2, zero__stage=3, checkpoint__resume="latest", **keys)
        self.assertIn("Resumed", result.out)
        self.assert_same_run("out", "whole")
        self.assert_same_checkpoint("out", "whole")

    def test_a_run_in_fp16_goes_on_with_its_loss_scale(self):
        keys = {
            "precision__dtype": "fp16",
            "train__max_steps": 9,
            "precision__loss_scale_window": 4,
            "precision__loss_scale": 128,
        }
        self.train(ranks=2, zero__stage=2, run__output_dir="whole", **keys)
        self.train(ranks=2, zero__stage=0, **{**keys, "train__max_steps": 5})
        self.train(ranks=1, zero__stage=3, checkpoint__resume="latest", **keys)
        self.assert_same_run("out", "whole")
        scales = [record["loss_scale"] for record in self.metrics("whole", "step")]
        self.assertEqual(scales, ["128.0"] * 4 + ["256.0"] * 4 + ["512.0"])

    def test_checkpoints_hold_fp32_and_the_summary_counts_two_bytes_a_working_weight(self):
        self.train(ranks=2, zero__stage=0, precision__dtype="bf16", train__max_steps=2)
        listed = json.loads(self.program("th_inspect", "ls", self.latest(), "--json").out)
        self.assertEqual({entry["dtype"] for entry in listed}, {"float32"})
        short = json.loads(self.metrics("out", "summary")[0]["model_state_bytes"][0])
        self.train(ranks=2, zero__stage=0, train__max_steps=2, run__output_dir="fp32")
        whole = json.loads(self.metrics("fp32", "summary")[0]["model_state_bytes"][0])
        self.assertEqual(short * 16, whole * 18)

    def test_overflowing_steps_are_skipped_and_halve_the_scale(self):
        result = self.train(
            ranks=2,
            zero__stage=2,
            precision__dtype="fp16",
            precision__loss_scale=2.0**34,
            train__max_steps=24,
            schedule__name="constant",
            optimizer__lr=0.001,
        )
        steps = self.metrics("out", "step")
        skipped = [record for record in steps if record["grad_norm"] is None]
        self.assertGreater(len(skipped), 2)
        self.assertLess(len(skipped), 24)
        self.assertEqual(
            [record["loss_scale"] for record in skipped[:3]],
            [str(2.0**34), str(2.0**34), str(2.0**33)],
            "hysteresis 2",
        )
        self.assertEqual(float(steps[-1]["loss_scale"]) * 2 ** (len(skipped) - 1), 2.0**34)
        self.assertIsNotNone(steps[-1]["grad_norm"])
        self.assertRegex(
            result.out,
            r"step 1: gradients overflow fp16 at loss scale .*, first in [a-z_.0-9]+; the step "
            r"is skipped",
        )

    def test_skipped_steps_do_not_advance_the_schedule(self):
        self.train(precision__dtype="fp16", precision__loss_scale=2.0**30, train__max_steps=20)
        steps = self.metrics("out", "step")
        self.train(run__output_dir="fp32", train__max_steps=20)
        rates = [record["lr"] for record in self.metrics("fp32", "step")]
        updates = [record for record in steps if record["grad_norm"] is not None]
        self.assertLess(len(updates), len(steps))
        self.assertEqual([record["lr"] for record in updates], rates[: len(updates)])

    def test_gradients_that_overflow_at_every_scale_end_the_run_with_code_6(self):
        # Activations of a huge rate overflow whatever the scale: the run ends at once by its loss,
        # or, scale after scale, by its gradients.
        result = self.train(
            ranks=2,
            precision__dtype="fp16",
            schedule__name="constant",
            optimizer__lr=1e30,
            train__gradient_clip=0,
            train__max_steps=60,
            optimizer__name="sgd",
            code=6,
        )
        self.assert_one_message(result, "step", "not finite|overflow", "fp16|not finite")

    def test_steps_that_are_not_finite_are_skipped_where_the_deck_says_so(self):
        keys = {
            "schedule__name": "constant",
            "optimizer__name": "sgd",
            "optimizer__lr": 1e30,
            "train__gradient_clip": 0,
            "train__on_not_finite": "skip",
        }
        self.train(train__max_steps=1, run__output_dir="one", **keys)
        result = self.train(ranks=2, zero__stage=2, train__max_steps=4, **keys)
        self.assertIn("the step is skipped (train.on_not_finite=skip)", result.out + result.err)
        steps = self.metrics("out", "step")
        self.assertEqual([record.get("skipped", False) for record in steps], [False] + [True] * 3)
        self.assertTrue(all(record["loss"] is None for record in steps[1:]))
        self.assertEqual(len({record["lr"] for record in steps}), 1)
        self.program("th_inspect", "diff", self.latest("out"), self.latest("one"))

    def test_another_precision_may_go_on_and_says_so(self):
        self.train(ranks=2, precision__dtype="bf16", train__max_steps=3)
        result = self.train(ranks=2, checkpoint__resume="latest", train__max_steps=5)
        self.assertRegex(result.out, r"precision\.dtype: the checkpoint has bf16, the deck fp32")
        self.assertEqual(len(self.metrics("out", "step")), 5)

    def test_selfcheck_in_16_bits(self):
        for dtype, reduced in (("bf16", "working"), ("fp16", "fp32")):
            result = self.program(
                "th_app",
                th_run.DECK,
                *self.overrides({"precision.dtype": dtype, "precision.reduce_dtype": reduced}),
                "--selfcheck",
                ranks=2
            )
            self.assertIn("same bits", result.out)


if __name__ == "__main__":
    th_run.main()
