#!/usr/bin/env python3
"""What goes wrong while a run goes on is told once and by its name, also where one rank alone sees
it, and costs no step that was made."""

import os
import shutil
import signal
import time

import th_run

TEST_SET = {
    "data__test_source": "valid.en",
    "data__test_target": "valid.fr",
    "decode__max_length": 8,
}
NO_SAVES = {"checkpoint__every_epochs": 0, "checkpoint__every_steps": 0}


class Records(th_run.ProgramTest):
    """metrics.jsonl and TensorBoard's files are rank 0's alone."""

    def assert_told_by_all(self, result, *patterns):
        self.assert_one_message(result, *patterns)
        self.assertNotIn("hang:", result.out + result.err)

    def test_a_disk_that_is_full_for_metrics(self):
        for ranks in (1, 2, 3):
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
        with open(self.folder / "out" / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write("garbage\n")
        for ranks in (1, 2):
            self.assert_told_by_all(
                self.train(ranks=ranks, code=3, checkpoint__resume="latest", train__max_steps=5),
                "error: ",
                "metrics.jsonl:",
                "garbage",
            )

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


class Saves(th_run.ProgramTest):
    def test_a_checkpoint_asked_for_by_signal_is_there_at_the_end(self):
        process = self.start(ranks=2, train__epochs=500, train__max_steps=12, **NO_SAVES)
        self.wait_for_steps(process, 2)
        process.send_signal(signal.SIGUSR2)
        self.assertEqual(process.wait(th_run.LIMIT_S), 0, self.started_log())
        names = self.checkpoints()
        self.assertEqual(len(names), 1, names)
        self.assertEqual(self.latest().name, names[0])
        self.program("th_inspect", "verify", self.latest())

    def test_what_was_damaged_and_is_saved_anew_counts_again(self):
        keys = {"checkpoint__every_steps": 2, "checkpoint__keep_last": 2}
        self.train(train__max_steps=4, **keys)
        shard = next(self.latest().glob("shard*.h5"))
        shard.write_bytes(shard.read_bytes()[:-100])
        self.train(ranks=2, train__max_steps=8, checkpoint__resume="latest", **keys)
        self.assertEqual(self.checkpoints(), ["step_00000006", "step_00000008"])

    def test_a_lowered_keep_last_makes_room_first(self):
        keys = {"checkpoint__every_steps": 1}
        self.train(train__max_steps=4, **keys)
        process = self.start(
            ranks=2,
            train__max_steps=5,
            checkpoint__resume="latest",
            checkpoint__keep_last=1,
            **keys,
        )
        self.assertEqual(process.wait(th_run.LIMIT_S), 0, self.started_log())
        self.assertEqual(self.checkpoints(), ["step_00000005"])
        # At the next save's begin the one before it is all that is left; the failure comes before
        # the save is whole.
        self.train(train__max_steps=8, checkpoint__resume="latest", **keys)
        self.environment["TH_FAIL_SAVE"] = "3"  # behind the two old ones
        self.train(
            code=5, train__max_steps=9, checkpoint__resume="latest", checkpoint__keep_last=2, **keys
        )
        self.assertEqual(self.checkpoints(), ["step_00000007", "step_00000008"])


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


class Folders(th_run.ProgramTest):
    def test_a_run_that_is_refused_moves_nothing(self):
        self.train(ranks=2, train__max_steps=2)
        before = th_run.tree(self.folder)
        for code, keys in (
            (2, {"zero__stage": 3, "zero__max_live_parameters": 5}),
            (2, {"train__micro_batches": 1}),
            (4, {"model__d_model": 1 << 20}),
            (3, {"data__batch_size": 1000}),
        ):
            self.train(ranks=2, code=code, train__max_steps=3, **keys)
            self.assertEqual(th_run.tree(self.folder), before, keys)

    def test_a_finished_run_is_left_as_it_is(self):
        self.train(ranks=2, train__max_steps=2, **TEST_SET)
        before = th_run.tree(self.folder)
        self.assert_one_message(
            self.train(
                ranks=3, train__max_steps=2, zero__stage=3, checkpoint__resume="latest", **TEST_SET
            ),
            "complete at step 2",
        )
        self.assertEqual(th_run.tree(self.folder), before)

    def test_two_runs_in_one_folder(self):
        process = self.start(
            ranks=2, train__epochs=500, checkpoint__every_steps=3, checkpoint__keep_last=2
        )
        self.wait_for_steps(process, 4)
        for resume in ("none", "latest"):
            refused = self.train(ranks=2, code=2, train__max_steps=5, checkpoint__resume=resume)
            self.assert_one_message(
                refused,
                "error: run.output_dir",
                "another run writes to .*out",
                r"process \d+ of this host",
            )
        self.wait_for_steps(process, len(self.metrics(kind="step")) + 8)
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.wait(th_run.LIMIT_S), 75, self.started_log())
        self.assertFalse((self.folder / "out.1").exists())
        self.program("th_inspect", "verify", self.latest())
        self.train(
            ranks=3,
            train__max_steps=int(self.metrics(kind="step")[-1]["step"]) + 1,
            train__epochs=500,
            checkpoint__resume="latest",
        )

    def test_nothing_is_left_in_shared_memory(self):
        def ours():
            return {name for name in os.listdir("/dev/shm") if name.startswith("th_")}

        before = ours()
        process = self.start(ranks=2, train__epochs=500)
        self.wait_for_steps(process, 1)
        self.assertEqual(ours() - before, set(), "while the run goes on")
        process.kill()
        process.wait()
        time.sleep(0.2)

    def test_what_is_cut_or_lost_of_a_corpus_is_told(self):
        result = self.train(ranks=2, train__max_steps=1, data__max_length=4)
        self.assert_one_message(
            result,
            "warning: ",
            r"train.en.*: \d+ of 480 pairs .* data.max_length = 4 ids; it was cut",
        )
        self.assert_one_message(
            self.train(ranks=2, code=3, train__max_steps=1, data__min_freq=100000),
            "error: ",
            "train.en: no word occurs data.min_freq = 100000 times",
        )

    def test_parts_without_a_sentence(self):
        (self.folder / "empty.en").write_text("")
        (self.folder / "blank.en").write_text("\n\n")
        for part in ("valid", "test"):
            for name in ("empty.en", "blank.en"):
                keys = {
                    f"data__{part}_source": name,
                    f"data__{part}_target": name,
                    "data__empty_lines": "skip",
                }
                self.assert_one_message(
                    self.train(ranks=2, code=3, train__max_steps=2, **keys),
                    "error: ",
                    name,
                    "no sentence pairs",
                )


if __name__ == "__main__":
    th_run.main()
