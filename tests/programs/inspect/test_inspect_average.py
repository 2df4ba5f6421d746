#!/usr/bin/env python3
"""th_inspect average: the mean of several checkpoints, as a checkpoint that translates and that a
run goes on from."""

import json
import shutil

import th_run

th_run.use_python_with("h5py", "numpy")
import h5py  # noqa: E402
import numpy  # noqa: E402

STEPS = (4, 6, 8, 9)


def tensors(folder, group):
    with h5py.File(folder / "model.h5", "r") as file:
        return {name: file[group][name][:] for name in file[group]}


class Average(th_run.SharedRunTest):
    def train_once(self):
        self.train(ranks=3, zero__stage=3, train__max_steps=9, checkpoint__every_steps=4)

    def setUp(self):
        super().setUp()
        self.inputs = [self.folder / "out" / "checkpoints" / f"step_{step:08d}" for step in STEPS]
        self.assertEqual(self.checkpoints(), [path.name for path in self.inputs])

    def average(self, *words, code=0, output="mean"):
        return self.program("th_inspect", "average", *words, "--output", output, code=code)

    def test_parameters_are_the_fp64_mean_and_the_rest_is_of_the_last(self):
        answer = json.loads(self.average(*self.inputs[:3], "--json").out)
        self.assertEqual(
            (answer["averaged"], answer["step"]), ([str(path) for path in self.inputs[:3]], 8)
        )
        self.program("th_inspect", "verify", "mean")
        mean = self.folder / "mean"
        rows = [tensors(path, "parameters") for path in self.inputs[:3]]
        seen = tensors(mean, "parameters")
        self.assertEqual(seen.keys(), rows[0].keys())
        for name, values in seen.items():
            expected = (sum(row[name].astype(numpy.float64) for row in rows) / 3).astype(
                numpy.float32
            )
            self.assertEqual(values.tobytes(), expected.tobytes(), name)
        for state in ("exp_avg", "exp_avg_sq"):
            last = tensors(self.inputs[2], f"optimizer/{state}")
            for name, values in tensors(mean, f"optimizer/{state}").items():
                self.assertEqual(values.tobytes(), last[name].tobytes(), name)
        with h5py.File(mean / "model.h5", "r") as new, h5py.File(
            self.inputs[2] / "model.h5", "r"
        ) as last:
            for name in ("step", "epoch", "deck", "identity"):
                self.assertEqual(new.attrs[name], last.attrs[name], name)
            self.assertIn("th_inspect average", new.attrs["build"])
            self.assertEqual(list(new["vocabulary/source"][:]), list(last["vocabulary/source"][:]))

    def test_it_translates_and_a_run_goes_on_from_it(self):
        self.average(*self.inputs)
        lines = self.program("th_translate", "mean", "--input", "valid.en").out.splitlines()
        self.assertEqual(len(lines), 40)
        for ranks, stage, output in ((2, 1, "a"), (0, 0, "b")):
            result = self.train(
                ranks=ranks,
                zero__stage=stage,
                train__max_steps=12,
                checkpoint__resume="mean",
                run__output_dir=output,
            )
            self.assert_one_message(
                result,
                "an average of 4 checkpoints .step_00000004, step_00000006, step_00000008, "
                "step_00000009.",
                "no probe loss",
            )
            self.assert_one_message(result, "Resumed .*mean at step 9 ")
            self.assertEqual(
                [step["step"] for step in self.metrics(output, "step")], ["10", "11", "12"]
            )
        self.assert_same_run("a", "b")
        self.train(
            train__max_steps=1,
            checkpoint__init_from="mean",
            optimizer__lr=0,
            run__output_dir="tuned",
        )
        self.program("th_inspect", "diff", "tuned", "mean", "--parameters-only")

    def test_moving_averages_are_averaged_too_and_are_what_is_translated(self):
        keys = {"train__ema_decay": 0.9, "decode__parameters": "ema", "model__d_model": 32}
        self.train(train__max_steps=6, checkpoint__every_steps=3, run__output_dir="own", **keys)
        inputs = [self.folder / "own" / "checkpoints" / f"step_{step:08d}" for step in (3, 6)]
        self.average(*inputs)
        self.program("th_inspect", "verify", "mean")
        for group in ("parameters", "ema"):
            rows = [tensors(path, group) for path in inputs]
            for name, values in tensors(self.folder / "mean", group).items():
                expected = (sum(row[name].astype(numpy.float64) for row in rows) / 2).astype(
                    numpy.float32
                )
                self.assertEqual(values.tobytes(), expected.tobytes(), f"{group} {name}")
                self.assertNotEqual(values.tobytes(), rows[1][name].tobytes(), f"{group} {name}")
        # th_translate, without an option, takes the mean of the averages.
        words = ("--score", "--input", "valid.en", "--target", "valid.fr")
        self.program(
            "th_inspect", "export", "mean", "--parameters", "ema", "--output", "m.safetensors"
        )
        self.program("th_inspect", "import", "m.safetensors", "--output", "of_means")
        seen = self.program("th_translate", "mean", *words).out
        self.assertEqual(seen, self.program("th_translate", "of_means", *words).out)
        self.assertNotEqual(seen, self.program("th_translate", inputs[1], *words).out)
        self.train(train__max_steps=7, checkpoint__resume="mean", run__output_dir="went_on", **keys)

    def test_a_checkpoint_without_a_moving_average_can_not_be_averaged_with_one(self):
        self.train(
            train__max_steps=10,
            train__ema_decay=0.9,
            checkpoint__resume=self.inputs[3],
            run__output_dir="own",
        )
        self.assert_one_message(
            self.average(self.inputs[3], "own", code=5),
            "step_00000009 and the last, .*step_00000010, can't be averaged",
            "train.ema_decay",
        )
        self.assertFalse((self.folder / "mean").exists())
        self.average("own", self.inputs[3])

    def test_the_same_values_without_the_mark_are_refused(self):
        """What lets an average pass is the mark in its state, and nothing else: a shard put into a
        run's own checkpoint meets the probe."""
        self.average(*self.inputs)
        self.train(train__max_steps=9, run__output_dir="own")
        folder = self.latest("own")
        shutil.copy(self.folder / "mean" / "shard_00000.h5", folder / "shard_00000.h5")
        self.program("th_inspect", "verify", folder)
        result = self.train(
            train__max_steps=10, checkpoint__resume=folder, run__output_dir="refused", code=5
        )
        self.assert_one_message(result, "the probe batch's loss was")

    def test_another_model_is_refused_and_explained(self):
        self.train(train__max_steps=1, model__d_ff=96, run__output_dir="narrow")
        result = self.average("narrow", "out", code=5)
        self.assert_one_message(
            result,
            r"linear1.weight: \[96, 64\] in the checkpoint, \[128, 64\] in the model",
            "encoder",
        )
        self.assert_one_message(result, "model.d_ff: 96, 128 in the last")
        self.train(train__max_steps=1, model__num_heads=2, run__output_dir="heads")
        self.assert_one_message(
            self.average("heads", "out", code=5), "model.num_heads: 2, 4 in the last"
        )
        (self.folder / "train.en").write_text(
            (self.folder / "train.en").read_text().replace("january", "jan")
        )
        self.train(train__max_steps=1, run__output_dir="words")
        self.assert_one_message(
            self.average("words", "out", code=5),
            r"vocabulary/source: .* differ, the first at id \d+: ",
        )
        self.assertFalse((self.folder / "mean").exists())

    def test_usage_and_damage(self):
        self.assert_one_message(self.average("out", code=2), "usage: th_inspect average A B")
        self.assert_one_message(
            self.average("out", "absent", code=5), "no complete checkpoint at absent"
        )
        self.assert_one_message(
            self.program("th_inspect", "average", "out", "out", code=2), "--output"
        )
        shard = self.inputs[0] / "shard_00001.h5"
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
        before = th_run.tree(self.folder)
        self.assert_one_message(
            self.average(*self.inputs, code=5), "step_00000004 is damaged: ", "shard_00001.h5"
        )
        self.assertEqual(th_run.tree(self.folder), before)


if __name__ == "__main__":
    th_run.main()
