#!/usr/bin/env python3
"""The checkpoint that an early th_app wrote (tests/golden/checkpoint, format 1, two ranks, stage 2)
is whole, has the values that h5py read when it was made, and goes on at any rank count and
stage."""

import json
import math
import shutil
import struct

import th_run

GOLDEN = th_run.SOURCE / "tests" / "golden" / "checkpoint"
STEP, LAST = 5, 9


class Golden(th_run.ProgramTest):
    def setUp(self):
        super().setUp()
        self.expected = json.loads((GOLDEN / "expected.json").read_text())
        self.checkpoint = GOLDEN / f"step_{STEP:08d}"

    def shown(self, path):
        kind, name = path.rsplit("/", 1)
        state = kind.removeprefix("parameters").removeprefix("optimizer/")
        rows = json.loads(
            self.program(
                "th_inspect",
                "show",
                self.checkpoint,
                f"{state}/{name}" if state else name,
                "--json",
            ).out
        )
        return [value for row in rows for value in row]

    def test_every_checksum_is_right(self):
        self.program("th_inspect", "verify", self.checkpoint)
        self.assertLess(sum(len(data) for data in th_run.tree(self.checkpoint).values()), 300_000)

    def test_values_are_those_that_were_written(self):
        self.assertEqual(len(self.expected["values"]), 12)
        for path, values in self.expected["values"].items():
            self.assertEqual(self.shown(path), values, path)
        names = {
            row["name"]
            for row in json.loads(self.program("th_inspect", "ls", self.checkpoint, "--json").out)
        }
        self.assertEqual(len(names), len(self.expected["sums"]))

    def test_h5py_reads_the_same(self):
        try:
            import h5py
        except ImportError:
            self.skipTest("this Python has no h5py")
        with h5py.File(self.checkpoint / "model.h5", "r") as file:
            for path, total in self.expected["sums"].items():
                self.assertEqual(math.fsum(float(x) for x in file[path][:].ravel()), total, path)

    def test_goes_on_at_every_rank_count_and_stage(self):
        before = th_run.tree(GOLDEN)
        for ranks, stage in ((1, 0), (3, 3), (2, 1)):
            with self.subTest(ranks=ranks, stage=stage):
                shutil.rmtree(self.folder / "out", ignore_errors=True)
                # Two threads: another identity than the writer's, so that a later th_app may round
                # in another way.
                result = self.program(
                    "th_app",
                    GOLDEN / "golden.in",
                    "run.output_dir=out",
                    f"zero.stage={stage}",
                    "run.threads=2",
                    f"checkpoint.resume={self.checkpoint}",
                    ranks=ranks,
                )
                self.assert_one_message(result, f"Resumed .*step_0000000{STEP} at step {STEP} ")
                steps = self.metrics(kind="step")
                self.assertEqual(
                    [int(step["step"]) for step in steps], list(range(STEP + 1, LAST + 1))
                )
                for step in steps:
                    expected = self.expected["losses"][step["step"]]
                    # 1e-5 relative, fp32: what another identity may add (contract).
                    self.assertLessEqual(abs(float(step["loss"]) - expected), 1e-5 * expected, step)
        self.assertEqual(th_run.tree(GOLDEN), before, "the golden checkpoint was touched")

    def test_damaged_optimizer_states_are_refused_at_every_rank_count(self):
        for path in ("optimizer/exp_avg/", "optimizer/exp_avg_sq/"):
            name, values = next(
                (name, values)
                for name, values in self.expected["values"].items()
                if name.startswith(path)
            )
            needle = struct.pack("<4f", *values[:4])
            copy = self.folder / path.split("/")[1] / self.checkpoint.name
            shutil.copytree(self.checkpoint, copy)
            shards = [file for file in copy.glob("*.h5") if needle in file.read_bytes()]
            self.assertEqual(len(shards), 1, name)
            shards[0].write_bytes(
                shards[0].read_bytes().replace(needle, struct.pack("<4f", 1.0, *values[1:4]))
            )
            for ranks in (1, 2, 3):
                result = self.program(
                    "th_app",
                    GOLDEN / "golden.in",
                    "run.output_dir=out",
                    f"checkpoint.resume={copy}",
                    ranks=ranks,
                    code=5,
                )
                self.assert_one_message(result, "error: ", "checksum")


if __name__ == "__main__":
    th_run.main()
