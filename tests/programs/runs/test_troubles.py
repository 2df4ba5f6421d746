#!/usr/bin/env python3
"""Trouble with the files that rank 0 alone writes is told once and by its name, by all ranks, and
costs no step that was made."""

import shutil

import th_run

TEST_SET = {
    "data__test_source": "valid.en",
    "data__test_target": "valid.fr",
    "decode__max_length": 8,
}


class Records(th_run.ProgramTest):
    """metrics.jsonl and TensorBoard's files are rank 0's alone."""

    def assert_told_by_all(self, result, *patterns):
        self.assert_one_message(result, *patterns)
        self.assertNotIn("hang:", result.out + result.err)

    def test_a_disk_that_is_full_for_metrics(self):
        for ranks in (0, 3):
            shutil.rmtree(self.folder / "out", ignore_errors=True)
            (self.folder / "out").mkdir()
            (self.folder / "out" / "metrics.jsonl").symlink_to("/dev/full")
            (self.folder / "out" / "manifest").write_text("metrics.jsonl\n")  # th_app's own
            self.assert_told_by_all(
                self.train(ranks=ranks, code=2, checkpoint__resume="latest", train__max_steps=4),
                "error: ",
                "metrics.jsonl",
                "disk full",
            )
            self.assertEqual(self.latest().name, "step_00000001", "the step that was made is kept")

    def test_a_record_that_is_none(self):
        self.train(ranks=2, train__max_steps=3)
        path = self.folder / "out" / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([lines[0], "garbage\n", *lines[1:]]))
        self.assert_told_by_all(
            self.train(ranks=2, code=3, checkpoint__resume="latest", train__max_steps=5),
            "error: ",
            "metrics.jsonl:",
            "garbage",
        )

    def test_what_a_crash_left_at_the_end_of_logs_is_cut_with_a_word(self):
        self.train(ranks=2, train__max_steps=3)
        for name in ("metrics.jsonl", "run.log"):
            with open(self.folder / "out" / name, "ab") as file:
                file.write(b'{"kind":"st' + bytes(5000) + (b"\n" if name[0] == "m" else b""))
        result = self.train(ranks=2, checkpoint__resume="latest", train__max_steps=5)
        self.assert_told_by_all(result, "warning: .*metrics.jsonl: line [0-9]+ holds zero bytes")
        self.assert_told_by_all(result, "warning: .*run.log: 5011 bytes at its end were zero")
        self.train(run__output_dir="whole", train__max_steps=5)
        self.assert_same_run("out", "whole")
        self.assertNotIn(0, (self.folder / "out" / "run.log").read_bytes())

    def test_a_tensorboard_folder_that_is_a_file(self):
        (self.folder / "out").mkdir()
        (self.folder / "out" / "tensorboard").write_text("")
        self.assert_told_by_all(
            self.train(
                ranks=2,
                code=2,
                monitor__tensorboard="true",
                checkpoint__resume="latest",
                train__max_steps=3,
            ),
            "error: ",
            "TensorBoard",
        )


class TestSet(th_run.ProgramTest):
    def test_training_is_saved_before_the_test_set_is_translated(self):
        blocked = self.folder / "out" / "test.hyp"
        blocked.mkdir(parents=True)
        (self.folder / "out" / "manifest").write_text("test.hyp\n")  # th_app's own
        keys = {"train__max_steps": 5, **TEST_SET}
        result = self.train(ranks=2, code=5, checkpoint__resume="latest", **keys)
        self.assert_one_message(result, "error: ", "test.hyp can't be written")
        self.assertEqual(self.checkpoints(), ["step_00000005"])
        before = th_run.tree(self.folder / "out" / "checkpoints")
        blocked.rmdir()
        self.assertNotIn(
            "complete at step", self.train(ranks=3, checkpoint__resume="latest", **keys).out
        )
        self.assertEqual(len(blocked.read_text().splitlines()), 40)
        self.assertEqual(
            th_run.tree(self.folder / "out" / "checkpoints"),
            before,
            "the checkpoint was written again",
        )
        self.assert_one_message(
            self.train(ranks=2, checkpoint__resume="latest", **keys), "complete at step 5"
        )
        self.train(run__output_dir="whole", **keys)
        self.assert_same_run("out", "whole")
        for kind in ("eval", "epoch"):
            self.assertEqual(self.metrics(kind=kind), self.metrics("whole", kind))
        self.assertEqual(blocked.read_text(), (self.folder / "whole" / "test.hyp").read_text())

    def test_more_epochs_after_one_whose_test_set_was_not_translated(self):
        blocked = self.folder / "out" / "test.hyp"
        blocked.mkdir(parents=True)
        (self.folder / "out" / "manifest").write_text("test.hyp\n")  # th_app's own
        self.train(ranks=2, code=5, checkpoint__resume="latest", train__epochs=1, **TEST_SET)
        blocked.rmdir()
        self.train(ranks=2, checkpoint__resume="latest", train__epochs=2, **TEST_SET)
        self.train(run__output_dir="whole", train__epochs=2, **TEST_SET)
        self.assert_same_run("out", "whole")
        self.assertEqual(self.metrics(kind="eval"), self.metrics("whole", "eval"))


if __name__ == "__main__":
    th_run.main()
