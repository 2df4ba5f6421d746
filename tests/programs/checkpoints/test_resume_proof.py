#!/usr/bin/env python3
"""The probe batch's loss proves a resume: another loss at the same identity ends it, at another
identity up to 1e-5 relative is accepted."""

import re

import th_run

th_run.use_python_with("h5py", "numpy")
import checkpoint_edit  # noqa: E402

STEPS = 6


class Proof(th_run.SharedRunTest):
    def train_once(self):
        self.train(ranks=2, train__max_steps=4)

    def setUp(self):
        super().setUp()
        self.checkpoint = self.latest()
        self.state = checkpoint_edit.state_of(self.checkpoint)
        self.other = re.sub(r"threads=\d+", "threads=7", self.state["identity"])
        self.assertNotEqual(self.other, self.state["identity"])

    def resume(self, code=0):
        before = th_run.tree(self.folder / "out" / "checkpoints")
        result = self.train(ranks=3, train__max_steps=STEPS, checkpoint__resume="latest", code=code)
        if code != 0:
            self.assertEqual(
                th_run.tree(self.folder / "out" / "checkpoints"),
                before,
                "a refused resume changed the checkpoints",
            )
            self.assertEqual(
                len(self.metrics(kind="step")), 4, "a refused resume changed the metrics"
            )
        return result

    def test_edited_file_with_the_right_checksums_is_whole(self):
        checkpoint_edit.change_state(self.checkpoint)
        self.program("th_inspect", "verify", self.checkpoint)
        self.assertNotIn("probe", self.resume().out)
        self.train(run__output_dir="whole", train__max_steps=STEPS)
        self.assert_same_run("out", "whole")

    def test_another_loss_at_the_same_identity_is_refused(self):
        loss = self.state["probe_loss"] * (1 + 1e-9)
        checkpoint_edit.change_state(self.checkpoint, probe_loss=loss)
        self.assert_one_message(
            self.resume(code=5),
            "error",
            "probe batch",
            re.escape(f"{loss:.17g}"),
            re.escape(f"{self.state['probe_loss']:.17g}"),
        )

    def test_other_parameters_with_the_right_checksums_are_refused(self):
        checkpoint_edit.scale_parameters(self.checkpoint, 1.01)
        self.program("th_inspect", "verify", self.checkpoint)
        self.assert_one_message(self.resume(code=5), "error", "probe batch")

    def test_small_difference_at_another_identity_is_printed_and_accepted(self):
        checkpoint_edit.change_state(
            self.checkpoint, identity=self.other, probe_loss=self.state["probe_loss"] * (1 + 5e-6)
        )
        result = self.resume()
        self.assert_one_message(result, "probe batch", "5e-06 relative")
        self.assert_one_message(result, "threads=7", "this run is")
        self.assertEqual(len(self.metrics(kind="step")), STEPS)

    def test_large_difference_at_another_identity_is_refused(self):
        checkpoint_edit.change_state(
            self.checkpoint, identity=self.other, probe_loss=self.state["probe_loss"] * (1 + 2e-5)
        )
        self.assert_one_message(self.resume(code=5), "error", "probe batch", "2e-05 relative")

    def test_same_loss_at_another_identity_says_only_that(self):
        checkpoint_edit.change_state(self.checkpoint, identity=self.other)
        result = self.resume()
        self.assert_one_message(result, "threads=7", "this run is")
        self.assertNotIn("probe", result.out)


class NewerFormat(th_run.ProgramTest):
    def test_newer_format_ends_a_resume_and_is_no_reason_to_go_back(self):
        self.train(ranks=2, train__max_steps=3, checkpoint__every_steps=2)
        checkpoint_edit.change_attribute(self.latest(), "format_version", 4)
        before = th_run.tree(self.folder / "out" / "checkpoints")
        for resume in ("latest", self.latest()):
            result = self.train(ranks=2, train__max_steps=5, checkpoint__resume=resume, code=5)
            self.assert_one_message(result, "error", "format_version 4", "newer th_app")
        self.assertEqual(th_run.tree(self.folder / "out" / "checkpoints"), before)


if __name__ == "__main__":
    th_run.main()
