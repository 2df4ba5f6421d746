#!/usr/bin/env python3
"""th_inspect diff: the same across rank counts and stages, and what differs, computed again with
h5py and numpy."""

import json
import re

import th_run

th_run.use_python_with("h5py", "numpy")
import h5py  # noqa: E402
import numpy  # noqa: E402


def tensors(checkpoint):
    """{name as th_inspect writes it: array} of everything in a checkpoint."""
    with h5py.File(checkpoint / "model.h5", "r") as file:
        found = {name: file["parameters"][name][:] for name in file["parameters"]}
        for state in file["optimizer"]:
            found.update(
                {
                    f"{state}/{name}": file["optimizer"][state][name][:]
                    for name in file["optimizer"][state]
                }
            )
    return found


def steps_apart(a, b):
    """Largest number of representable values between two float32 arrays: signed magnitudes of the
    bit patterns."""

    def place(x):
        bits = x.view(numpy.uint32).astype(numpy.int64)
        return numpy.where(bits >> 31, -(bits & 0x7FFFFFFF), bits)

    return int(numpy.abs(place(a) - place(b)).max())


class Diff(th_run.SharedRunTest):
    def train_once(self):
        self.train(ranks=3, zero__stage=3, train__max_steps=4, checkpoint__every_steps=2)

    def diff(self, a, b, *words, code):
        result = self.program("th_inspect", "diff", a, b, *words, code=code)
        return json.loads(result.out) if "--json" in words else result.out

    def test_same_across_rank_counts_and_stages(self):
        self.train(train__max_steps=4, zero__stage=0, run__output_dir="alone")
        seen = self.diff(self.latest(), self.latest("alone"), "--json", code=0)
        self.assertEqual(
            (seen["same"], seen["compared"], seen["differing"], seen["differences"]),
            (True, len(tensors(self.latest())), 0, []),
        )
        self.assertRegex(
            self.diff("out", "alone", code=0), rf"{seen['compared']} tensors compared, the same\n\Z"
        )

    def test_differences_are_those_that_numpy_finds(self):
        first, second = (
            self.folder / "out" / "checkpoints" / name
            for name in ("step_00000002", "step_00000004")
        )
        a, b = tensors(first), tensors(second)
        seen = self.diff(first, second, "--json", code=1)
        rows = {row["name"]: row for row in seen["differences"]}
        self.assertEqual(seen["differing"], len(rows))
        differing = [
            name
            for name in a
            if not numpy.array_equal(a[name].view(numpy.uint32), b[name].view(numpy.uint32))
        ]
        self.assertEqual(sorted(rows), sorted(differing))
        self.assertGreater(len(rows), 50)
        for name, row in rows.items():
            x, y = a[name], b[name]
            self.assertEqual(
                row["largest"], float(numpy.abs(x.astype(numpy.float64) - y).max()), name
            )
            self.assertEqual(
                (row["ulps"], row["differing"], row["count"]),
                (steps_apart(x, y), int((x.view("u4") != y.view("u4")).sum()), x.size),
                name,
            )
        name = "encoder.norm.weight"
        text = self.diff(first, second, code=1)
        self.assertRegex(
            text,
            rf"(?m)^{re.escape(name)}: largest difference \S+, {rows[name]['ulps']} ULPs, "
            rf"{rows[name]['differing']} of 64 elements$",
        )
        parameters = self.diff(first, second, "--parameters-only", "--json", code=1)
        self.assertEqual(parameters["compared"], len([n for n in a if "/" not in n]))

    def test_one_changed_value_is_found_where_it_is(self):
        self.train(ranks=2, zero__stage=1, train__max_steps=4, run__output_dir="other")
        with h5py.File(self.latest("other") / "shard_00001.h5", "r+") as file:
            values = file["parameters"][:]
            values[7] = numpy.nextafter(values[7], numpy.float32(9))
            file["parameters"][...] = values
        seen = self.diff("out", "other", "--json", code=1)
        self.assertEqual([(row["ulps"], row["differing"]) for row in seen["differences"]], [(1, 1)])

    def test_other_shapes_names_and_words_are_named(self):
        self.train(
            train__max_steps=1,
            model__d_ff=96,
            model__num_encoder_layers=2,
            optimizer__name="sgd",
            optimizer__lr=0.1,
            run__output_dir="other",
        )
        rows = {
            row["name"]: row for row in self.diff("out", "other", "--json", code=1)["differences"]
        }
        shape = rows["encoder.layers.0.linear1.weight"]
        self.assertEqual(
            (shape["kind"], shape["shape_a"], shape["shape_b"]), ("shape", [128, 64], [96, 64])
        )
        self.assertEqual(rows["encoder.layers.1.norm1.bias"]["kind"], "only_in_b")
        seen = self.diff("out", "other", "--json", code=1)
        kinds = [row["kind"] for row in seen["differences"]]
        a, b, shared = (kinds.count(kind) for kind in ("only_in_a", "only_in_b", "values"))
        shared += kinds.count("shape")
        self.assertEqual((seen["only_in_a"], seen["only_in_b"], seen["vocabularies"]), (a, b, 0))
        self.assertTrue(min(a, b, shared) > 0 and a != b, kinds)
        self.assertRegex(
            self.diff("out", "other", code=1),
            rf" compared, {shared} differ, {a} in A alone, {b} in B alone\n\Z",
        )
        self.assertEqual(rows["exp_avg/encoder.norm.weight"]["kind"], "only_in_a")
        (self.folder / "train.en").write_text(
            (self.folder / "train.en").read_text().replace("january", "jan")
        )
        self.train(train__max_steps=1, run__output_dir="words")
        self.assertRegex(
            self.diff("other", "words", code=1),
            r"(?m)^vocabulary/source: .* differ, the first at id \d+: '",
        )
        seen = self.diff("other", "words", "--json", code=1)
        named = [row["name"] for row in seen["differences"] if row["kind"] == "vocabulary"]
        self.assertEqual((seen["vocabularies"], named), (1, ["vocabulary/source"]))
        self.assertRegex(
            self.diff("other", "words", code=1), r" alone, a vocabulary differs\n\Z"
        )

    def test_tied_and_untied_are_compared_under_each_name(self):
        self.train(train__max_steps=1, model__tie_embeddings="true", run__output_dir="tied")
        self.diff("tied", "tied", code=0)
        rows = {row["name"] for row in self.diff("tied", "out", "--json", code=1)["differences"]}
        self.assertIn("target_embedding.weight", rows)

    def test_a_missing_shard_or_checkpoint_is_unusable(self):
        self.assert_one_message(
            self.program("th_inspect", "diff", "out", "absent", code=5), "th_inspect: .*absent"
        )
        (self.latest() / "shard_00001.h5").unlink()
        self.assert_one_message(
            self.program("th_inspect", "diff", self.latest(), "out", code=5),
            "shard_00001.h5 is missing",
            "^th_inspect: the shard",
        )


if __name__ == "__main__":
    th_run.main()
