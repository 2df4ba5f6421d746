#!/usr/bin/env python3
"""Resumes that left steps behind, or that come with another attention, validation set or corpus."""

import shutil

import th_run


class Resumes(th_run.ProgramTest):
    def test_a_run_that_left_steps_behind_does_not_come_back_to_them(self):
        keys = {"checkpoint__every_steps": 2, "checkpoint__keep_last": 0}
        self.train(ranks=2, train__max_steps=8, **keys)
        again = {"checkpoint__resume": "out/checkpoints/step_00000004", "optimizer__lr": 0.5}
        self.environment["TH_FAIL_SAVE"] = (
            "8:kill"  # behind the four points at which latest is written
        )
        self.train(train__max_steps=8, code=-9, **again, **keys)
        del self.environment["TH_FAIL_SAVE"]
        self.assertEqual(self.latest().name, "step_00000004")
        result = self.train(
            ranks=3, train__max_steps=8, checkpoint__resume="latest", optimizer__lr=0.5, **keys
        )
        self.assert_one_message(result, "Resumed .*step_00000004 at step 4 ")
        self.train(
            train__max_steps=8,
            checkpoint__resume="out/checkpoints/step_00000004",
            optimizer__lr=0.5,
            run__output_dir="whole",
            **keys,
        )
        self.assertEqual(self.bits()[0][4:], self.bits("whole")[0])
        self.assertEqual(
            [int(step["step"]) for step in self.metrics(kind="step")], list(range(1, 9))
        )

    def test_another_kind_of_attention_is_another_identity(self):
        for before, after in (("auto", "products"), ("products", "auto")):
            shutil.rmtree(self.folder / "out", ignore_errors=True)
            self.train(ranks=2, train__max_steps=3, run__attention=before)
            result = self.train(
                train__max_steps=4, checkpoint__resume="latest", run__attention=after
            )
            self.assert_one_message(result, "The checkpoint was written as .*, this run is ")

    def test_another_validation_set_is_no_other_run(self):
        self.train(ranks=2, train__max_steps=3)
        for side in ("en", "fr"):
            lines = (self.folder / f"valid.{side}").read_text().splitlines(keepends=True)
            (self.folder / f"other.{side}").write_text("".join(lines[7:20]))
        other = self.train(
            train__max_steps=5,
            checkpoint__resume="latest",
            data__valid_source="other.en",
            data__valid_target="other.fr",
        )
        self.assert_one_message(other, "probe batch is another one")
        none = self.train(
            train__max_steps=7,
            checkpoint__resume="latest",
            data__valid_source="",
            data__valid_target="",
        )
        self.assert_one_message(none, "probe batch is another one")
        self.train(run__output_dir="whole", train__max_steps=7)
        self.assertEqual(self.bits()[0], self.bits("whole")[0])

    def test_other_lines_of_the_training_files_are(self):
        self.train(ranks=2, train__max_steps=3)
        before = th_run.tree(self.folder / "out" / "checkpoints")
        for side in ("en", "fr"):
            path = self.folder / f"train.{side}"
            path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
        for ranks in (1, 2):
            refused = self.train(
                ranks=ranks, code=2, train__max_steps=5, checkpoint__resume="latest"
            )
            self.assert_one_message(
                refused, "error: ", "data.train_source", "other lines", "checkpoint.init_from"
            )
        self.assertEqual(th_run.tree(self.folder / "out" / "checkpoints"), before)
        self.train(
            train__max_steps=2,
            checkpoint__init_from="out/checkpoints/step_00000003",
            run__output_dir="anew",
        )


if __name__ == "__main__":
    th_run.main()
