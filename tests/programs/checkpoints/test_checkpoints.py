#!/usr/bin/env python3
"""Which checkpoints a run leaves, and what a damaged newest one does."""

import json
import shutil

import th_run

STEPS = 11


class Kept(th_run.ProgramTest):
    def test_keep_last_leaves_the_newest_and_latest_names_it(self):
        self.train(train__max_steps=9, checkpoint__every_steps=2, checkpoint__keep_last=2)
        self.assertEqual(self.checkpoints(), ["step_00000008", "step_00000009"])
        self.assertEqual(self.latest().name, "step_00000009")
        self.train(
            ranks=2,
            train__max_steps=11,
            checkpoint__every_steps=2,
            checkpoint__keep_last=2,
            checkpoint__resume="latest",
        )
        self.assertEqual(self.checkpoints(), ["step_00000010", "step_00000011"])
        for name in self.checkpoints():
            self.program("th_inspect", "verify", f"out/checkpoints/{name}")

    def test_all_are_kept_by_default_by_step_and_by_epoch(self):
        self.train(train__max_steps=9, checkpoint__every_steps=4)
        self.assertEqual(self.checkpoints(), [f"step_{step:08d}" for step in (4, 6, 8, 9)])
        self.assertEqual(
            sorted(path.name for path in self.latest().iterdir()), ["model.h5", "shard_00000.h5"]
        )

    def test_none_is_written_when_both_intervals_are_0(self):
        self.train(train__max_steps=7, checkpoint__every_epochs=0)
        self.assertFalse((self.folder / "out" / "checkpoints").exists())

    def test_written_in_the_background_or_not_they_are_the_same(self):
        self.train(
            ranks=2,
            train__max_steps=5,
            checkpoint__every_steps=1,
            checkpoint__async="false",
            run__output_dir="whole",
        )
        self.train(ranks=2, train__max_steps=5, checkpoint__every_steps=1, checkpoint__async="true")
        self.assertEqual(self.checkpoints(), self.checkpoints("whole"))
        self.assert_same_run("out", "whole")
        self.assert_same_checkpoint("out", "whole")

    def test_run_that_ends_with_code_6_publishes_the_save_in_flight(self):
        self.train(
            ranks=2,
            train__max_steps=20,
            optimizer__lr="1e30",
            schedule__name="constant",
            train__gradient_clip=0,
            checkpoint__every_steps=1,
            code=6,
        )
        last = (
            int(self.metrics(kind="step")[-1]["step"]) - 1
        )  # the record of the step that failed is the last
        self.assertEqual(self.latest().name, f"step_{last:08d}")
        self.program("th_inspect", "verify", self.latest())

    def test_memory_of_a_resumed_run_is_as_planned(self):
        # Small batches of a wider model: a copy of the state beside the state would be the peak of
        # the run.
        keys = {
            "model__d_model": 128,
            "data__batch_size": 2,
            "checkpoint__async": "false",
            "checkpoint__every_steps": 2,
        }
        self.train(ranks=2, train__max_steps=3, **keys)
        self.train(ranks=2, zero__stage=3, train__max_steps=5, checkpoint__resume="latest", **keys)
        summary = self.metrics(kind="summary")[0]
        for planned, measured in zip(summary["planned_bytes"], summary["measured_bytes"]):
            self.assertLessEqual(abs(int(measured) / int(planned) - 1), 0.05, summary)

    def test_init_from_takes_the_parameters_alone(self):
        def stat(run):
            return json.loads(
                self.program("th_inspect", "stat", self.latest(run), "--json").out, parse_float=str
            )

        self.train(train__max_steps=3, run__output_dir="first")
        # At a learning rate of 0 the parameters stay what they were; the optimizer's state is that
        # of one step.
        run = self.train(
            ranks=2,
            zero__stage=3,
            train__max_steps=1,
            checkpoint__init_from="first",
            optimizer__lr=0,
            model__activation="gelu",
            model__dropout=0.3,
        )
        # The same tensors, and another function of them.
        self.assert_one_message(
            run, "checkpoint.init_from: .*model.activation was relu, here it is gelu"
        )
        self.assertNotIn("model.dropout", run.out + run.err)
        self.assertEqual([step["step"] for step in self.metrics(kind="step")], ["1"])
        first, second = stat("first"), stat("out")
        self.assertEqual(first.keys(), second.keys())
        for name in first:
            if "/" not in name:
                self.assertEqual(first[name], second[name], name)
        for state in ("exp_avg", "exp_avg_sq"):
            self.assertNotEqual(
                first[f"{state}/encoder.norm.weight"], second[f"{state}/encoder.norm.weight"]
            )


class Damaged(th_run.SharedRunTest):
    def train_once(self):
        self.train(
            ranks=2, train__max_steps=9, checkpoint__every_steps=5
        )  # checkpoints at 5, 6 (epoch) and 9

    def setUp(self):
        super().setUp()
        self.assertEqual(self.checkpoints(), ["step_00000005", "step_00000006", "step_00000009"])
        self.newest = self.latest()

    def assert_goes_on_from_step_6(self, named="step_00000009", ranks=0):
        result = self.train(ranks=ranks, train__max_steps=STEPS, checkpoint__resume="latest")
        self.assert_one_message(result, "warning", named)
        self.assertRegex(result.out, "Resumed .*step_00000006 at step 6 ")
        self.train_once_for_all(train__max_steps=STEPS)
        self.assert_same_run("out", "whole")
        self.assertEqual(self.latest().name, f"step_{STEPS:08d}")

    def test_cut_shard_of_the_newest(self):
        with open(self.newest / "shard_00001.h5", "r+b") as file:
            file.truncate(30000)
        self.assert_goes_on_from_step_6(ranks=2)

    def test_flipped_bit_in_the_newest(self):
        path = self.newest / "shard_00000.h5"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)
        self.program("th_inspect", "verify", self.newest, code=1)
        self.assert_goes_on_from_step_6()

    def test_keep_last_does_not_count_what_the_resume_found_damaged(self):
        path = self.newest / "shard_00001.h5"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)
        self.train(train__max_steps=STEPS, checkpoint__resume="latest", checkpoint__keep_last=2)
        self.assertEqual(
            self.checkpoints(),
            ["step_00000006", "step_00000009", "step_00000011"],
            "6, which the run went on from, is one of the two",
        )

    def test_every_kind_of_damage_is_seen_at_other_rank_counts_too(self):
        data = bytearray((self.newest / "shard_00001.h5").read_bytes())
        data[len(data) // 2] ^= 16
        (self.newest / "shard_00001.h5").write_bytes(data)
        for ranks in (0, 3):
            result = self.train(
                ranks=ranks, train__max_steps=STEPS, checkpoint__resume=self.newest, code=5
            )
            self.assert_one_message(result, "error", r"shard_00001.h5:\S+: the checksum is wrong")

    def test_missing_shard_of_the_newest(self):
        (self.newest / "shard_00000.h5").unlink()
        self.assert_goes_on_from_step_6()

    def test_empty_model_file_of_the_newest(self):
        (self.newest / "model.h5").write_bytes(b"")
        self.assert_goes_on_from_step_6()

    def test_newest_folder_is_gone(self):
        shutil.rmtree(self.newest)
        self.assert_goes_on_from_step_6()

    def test_run_with_damaged_checkpoints_alone_is_not_written_over(self):
        before = (self.folder / "out" / "metrics.jsonl").read_bytes()
        for shard in self.newest.parent.glob("*/shard_00001.h5"):
            shard.unlink()
        result = self.train(train__max_steps=STEPS, checkpoint__resume="latest", code=5)
        self.assertRegex(result.out + result.err, "step_00000009.*shard_00001.h5 is missing")
        self.assertEqual((self.folder / "out" / "metrics.jsonl").read_bytes(), before)

    def test_leftover_of_a_crash_while_saving_is_no_checkpoint(self):
        shutil.copytree(self.newest, self.newest.parent / ".tmp_step_00000010")
        (self.newest.parent / ".tmp_step_00000010" / "shard_00001.h5").write_bytes(b"half")
        self.train(
            ranks=2, train__max_steps=10, checkpoint__every_steps=5, checkpoint__resume="latest"
        )
        self.assertEqual(self.checkpoints()[-1], "step_00000010")
        self.assertFalse([name for name in self.checkpoints() if name.startswith(".")])
        self.program("th_inspect", "verify", self.latest())

    def test_damaged_checkpoint_given_by_its_path_is_refused(self):
        before = (self.folder / "out" / "metrics.jsonl").read_bytes()
        with open(self.newest / "shard_00001.h5", "r+b") as file:
            file.truncate(30000)
        result = self.train(train__max_steps=STEPS, checkpoint__resume=self.newest, code=5)
        self.assert_one_message(result, "error", "shard_00001.h5")
        self.assertEqual(
            (self.folder / "out" / "metrics.jsonl").read_bytes(),
            before,
            "a refused resume changed the metrics",
        )


if __name__ == "__main__":
    th_run.main()
