#!/usr/bin/env python3
"""Every optimizer, and the parameters' moving average, is one run at every rank count and stage,
through checkpoints; its memory is what was planned; its checkpoints hold its states. With --long
every chain has all links."""

import shutil
import struct

import th_run

STEPS = 8
# The links of a chain: ranks, stage and the step at which it ends.
EIGHT = [(3, 3, 2), (2, 2, 4), (8, 1, 6), (1, 0, STEPS)]
ALL = EIGHT if th_run.LONG else [(3, 3, 2), (2, 2, 4), (2, 1, 6), (1, 0, STEPS)]
# For what another chain takes over all stages: states in shards, and whole.
TWO = EIGHT if th_run.LONG else [(3, 3, 4), (2, 0, STEPS)]
SHARDED = EIGHT if th_run.LONG else [(2, 1, 3), (3, 2, STEPS)]

SGD = {
    "optimizer__name": "sgd",
    "optimizer__lr": 0.05,
    "optimizer__momentum": 0.9,
    "optimizer__nesterov": "true",
    "schedule__name": "wsd",
    "schedule__total_steps": 12,
    "schedule__warmup_steps": 2,
    "schedule__decay_steps": 6,
}
MUON = {
    "optimizer__name": "muon",
    "optimizer__lr": 0.01,
    "optimizer__adam_lr": 0.002,
    "optimizer__weight_decay": 0.01,
    "schedule__name": "constant",
}
ADAFACTOR = {
    "optimizer__name": "adafactor",
    "optimizer__lr": 0.02,
    "optimizer__weight_decay": 0.01,
    "schedule__name": "constant",
}
AVERAGE = {"train__ema_decay": 0.75, "decode__parameters": "ema", "train__valid_every_steps": 4}


def single(value):
    """The value rounded to fp32."""
    return struct.unpack("f", struct.pack("f", value))[0]


class Optimizers(th_run.ProgramTest):
    def assert_memory_as_planned(self, run="out"):
        summary = self.metrics(run, "summary")[0]
        for planned, measured in zip(summary["planned_bytes"], summary["measured_bytes"]):
            self.assertEqual(planned, measured, "planned and measured bytes of a rank")

    def chain(self, links, **keys):
        """One run at one rank and stage 0, and the same in links at others."""
        self.train(run__output_dir="whole", train__max_steps=STEPS, **keys)
        losses = {step["loss"] for step in self.metrics("whole", "step")}
        self.assertEqual(len(losses), STEPS, "losses that do not change prove nothing")
        self.assert_memory_as_planned("whole")
        for link, (ranks, stage, end) in enumerate(links):
            resume = {"checkpoint__resume": "latest"} if link > 0 else {}
            self.train(ranks=ranks, zero__stage=stage, train__max_steps=end, **resume, **keys)
            self.assert_memory_as_planned()
        self.assert_same_run("out", "whole")
        self.assertEqual(
            self.metrics("out", "eval")[-1], self.metrics("whole", "eval")[-1], "last validation"
        )
        self.assert_same_checkpoint("out", "whole")

    def names(self, run="out"):
        listed = self.program("th_inspect", "ls", self.latest(run)).out.split("\n")
        return {line.split(" ")[0].split("/")[0] for line in listed if "/" in line}

    def values(self, folder, name):
        shown = self.program("th_inspect", "show", folder, name, "--json").out
        return [float(text) for text in shown.strip("[]\n").replace("],[", ",").split(",")]

    def test_sgd_with_momentum_is_one_run(self):
        self.chain(TWO, **SGD)
        self.assertEqual(self.names("whole"), {"momentum_buffer"})

    def test_bf16_states_are_one_run(self):
        self.chain(TWO, optimizer__state_dtype="bf16", **AVERAGE)
        self.train(run__output_dir="exact", train__max_steps=2)
        self.train(run__output_dir="rounded", train__max_steps=2, optimizer__state_dtype="bf16")
        exact, rounded = (
            self.metrics(run, "summary")[0]["model_state_bytes"][0] for run in ("exact", "rounded")
        )
        # Weights, gradients and two states of 4 bytes; the states of 2.
        self.assertEqual(int(exact) * 12, int(rounded) * 16)
        name = "exp_avg_sq/output_projection.weight"
        for value in self.values(self.latest("rounded"), name):
            self.assertEqual(struct.unpack("I", struct.pack("f", value))[0] & 0xFFFF, 0)
        # In checkpoints too, of the sum of 4, 2 and 2 bytes; the view over the shards is fp32.
        listed = self.program("th_inspect", "ls", self.latest("rounded")).out
        self.assertRegex(listed, r"\nexp_avg_sq/output_projection.weight \[.*\] bfloat16\n")
        self.assertRegex(listed, r"\noutput_projection.weight \[.*\] float32\n")
        self.program("th_inspect", "verify", self.latest("rounded"))
        sizes = [
            sum(path.stat().st_size for path in self.latest(run).glob("shard_*.h5"))
            for run in ("exact", "rounded")
        ]
        self.assertLess(abs(sizes[1] / sizes[0] - 8 / 12), 0.05)
        # A run goes on with the other type, from the same values.
        out = self.train(
            run__output_dir="rounded",
            train__max_steps=3,
            checkpoint__resume="latest",
            checkpoint__async="false",
        ).out
        self.assertIn("states go on in fp32, from the checkpoint's bf16 values as they are.", out)

    def test_a_resume_tells_what_it_drops_begins_and_rounds(self):
        def told(step, **keys):
            out = self.train(train__max_steps=step, checkpoint__resume="latest", **keys).out
            return [sentence for sentence in sentences if sentence in out]

        sentences = dropped, begun, rounded = (
            "The checkpoint's moving average (ema/) is dropped, since train.ema_decay is 0.",
            "The moving average begins with the parameters as they are: the checkpoint has none.",
            "The optimizer's states are rounded from the checkpoint's fp32 to bf16, once.",
        )
        self.assertEqual(told(1), [], "nothing is there to go on from")
        self.assertEqual(told(2), [])
        short = {"optimizer__state_dtype": "bf16"}
        self.assertEqual(told(3, train__ema_decay=0.9, **short), [begun, rounded])
        self.assertEqual(told(4, train__ema_decay=0.8, **short), [])
        self.assertEqual(told(5, **short), [dropped])

    def test_muon_is_one_run(self):
        for links, keys in (
            (EIGHT, MUON),
            (TWO, {**MUON, **AVERAGE, "optimizer__state_dtype": "bf16"}),
        ):
            with self.subTest(**keys):
                self.chain(links, **keys)
                shutil.rmtree(self.folder / "out")
                shutil.rmtree(self.folder / "whole")

    def test_adafactor_is_one_run(self):
        for links, keys in (
            (ALL, ADAFACTOR),
            (TWO, {**ADAFACTOR, **AVERAGE, "precision__dtype": "bf16"}),
        ):
            with self.subTest(**keys):
                self.chain(links, **keys)
                shutil.rmtree(self.folder / "out")
                shutil.rmtree(self.folder / "whole")

    def test_muon_in_16_bits_is_one_run(self):
        self.chain(SHARDED, precision__dtype="bf16", **MUON)

    def test_muon_orthogonalises_the_matrices_of_layers_and_no_others(self):
        for run, rate in (("out", 0.02), ("start", 0)):
            keys = {**MUON, "optimizer__lr": rate, "optimizer__adam_lr": 1e-9 if rate else 0}
            self.train(run__output_dir=run, train__max_steps=1, **keys)
        layer = "encoder.layers.0."
        # Rows, columns, and the rows of a matrix: d_model is 64, d_ff 128.
        for name, rows, columns, parts in (
            ("self_attn.in_proj_weight", 192, 64, 3),
            ("self_attn.out_proj.weight", 64, 64, 1),
            ("linear1.weight", 128, 64, 1),
            ("linear2.weight", 64, 128, 1),
        ):
            now, before = (self.values(self.latest(run), layer + name) for run in ("out", "start"))
            self.assertEqual(len(now), rows * columns)
            rate = 0.02 * max(1, rows / parts / columns) ** 0.5
            for part in range(parts):
                begin, end = (rows * columns * p // parts for p in (part, part + 1))
                step = [(b - n) / rate for n, b in zip(now[begin:end], before[begin:end])]
                self.assert_nearly_orthogonal(step, rows // parts, columns)
        for name in ("source_embedding.weight", layer + "norm1.weight"):
            now, before = (self.values(self.latest(run), name) for run in ("out", "start"))
            self.assertLess(max(abs(n - b) for n, b in zip(now, before)), 1e-6)

    def assert_nearly_orthogonal(self, matrix, rows, columns):
        """Singular values of the five iterations' result lie between 0.6 and 1.25, but for those
        of the momentum that are very small: by the sum of their squares and of their fourth
        powers."""
        if rows < columns:
            matrix = [matrix[r * columns + c] for c in range(columns) for r in range(rows)]
            rows, columns = columns, rows
        lines = [matrix[r * columns : (r + 1) * columns] for r in range(rows)]
        turned = list(zip(*lines))
        gram = [[sum(a * b for a, b in zip(x, y)) for y in turned] for x in turned]
        squares = sum(gram[i][i] for i in range(columns)) / columns
        fourths = sum(g * g for line in gram for g in line) / columns
        self.assertGreater(squares, 0.6)
        self.assertLess(squares, 1.3)
        # Of equal singular values the mean of the fourth powers is the square of the other mean.
        self.assertLess(fourths, 1.3 * squares * squares)

    def test_sgd_without_momentum_keeps_no_state_and_cannot_go_on_with_one(self):
        keys = {**SGD, "optimizer__momentum": 0, "optimizer__nesterov": "false"}
        self.train(train__max_steps=2, **keys)
        self.assertEqual(self.names(), set())
        refused = self.train(train__max_steps=4, checkpoint__resume="latest", code=2, **SGD)
        self.assert_one_message(refused, "optimizer.momentum", "0.9")

    def test_the_average_is_one_run_and_is_what_validation_uses(self):
        self.chain(ALL, **AVERAGE)
        self.assertEqual(self.names("whole"), {"exp_avg", "exp_avg_sq", "ema"})
        valid = [r["value"] for r in self.metrics("whole", "eval") if r["metric"] == "valid_loss"]
        self.train(run__output_dir="trained", train__max_steps=STEPS, train__valid_every_steps=4)
        trained = [
            r["value"] for r in self.metrics("trained", "eval") if r["metric"] == "valid_loss"
        ]
        self.assertEqual(len(valid), len(trained))
        self.assertTrue(set(valid).isdisjoint(trained), "the average has the same losses")
        self.assertEqual(
            [step["loss"] for step in self.metrics("whole", "step")],
            [step["loss"] for step in self.metrics("trained", "step")],
            "training changed with the average",
        )
        # The last validation, again by th_translate.
        for run, parameters, seen in (("whole", "ema", valid), ("whole", "trained", trained)):
            scored = self.program(
                "th_translate",
                self.latest(run),
                "--score",
                *("--input", "valid.en", "--target", "valid.fr", "--parameters", parameters),
            ).out.split()
            loss = -sum(map(float, scored[0::2])) / sum(map(float, scored[1::2]))
            self.assertAlmostEqual(loss, float(seen[-1]), delta=1e-5 * loss)

    def test_the_average_follows_its_formula_and_is_exported(self):
        self.train(train__max_steps=4, checkpoint__every_steps=1, ranks=2, zero__stage=3, **AVERAGE)
        name = "encoder.layers.0.self_attn.out_proj.weight"
        average = None
        for step in range(1, 5):
            folder = self.folder / "out" / "checkpoints" / f"step_{step:08d}"
            weights = self.values(folder, name)
            if average is None:
                average = weights
            else:
                average = [
                    single(a + single(single(w - a) * 0.25)) for a, w in zip(average, weights)
                ]
            self.assertEqual(self.values(folder, f"ema/{name}"), average, f"step {step}")
        self.program(
            "th_inspect",
            *("export", self.latest(), "--parameters", "ema", "--output", "ema.safetensors"),
        )
        self.program("th_inspect", "import", "ema.safetensors", "--output", "imported")
        self.assertEqual(self.values("imported", name), average)
        refused = self.program(
            "th_inspect",
            *("export", self.latest(), "--parameters", "mean", "--output", "x.npz"),
            code=2,
        )
        self.assert_one_message(refused, "--parameters mean is unknown; allowed trained, ema")

    def test_an_average_begins_with_the_parameters_of_a_run_without(self):
        self.train(train__max_steps=2)
        refused = self.program(
            "th_translate", self.latest(), "--parameters", "ema", code=5, text=""
        )
        self.assert_one_message(refused, "holds no moving average")
        self.train(ranks=2, train__max_steps=3, checkpoint__resume="latest", **AVERAGE)
        name = "encoder.layers.0.self_attn.out_proj.weight"
        before, after = (
            self.values(self.folder / "out" / "checkpoints" / f"step_{step:08d}", name)
            for step in (2, 3)
        )
        expected = [single(b + single(single(a - b) * 0.25)) for b, a in zip(before, after)]
        self.assertEqual(self.values(self.latest(), f"ema/{name}"), expected)


if __name__ == "__main__":
    th_run.main()
