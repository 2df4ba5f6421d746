#!/usr/bin/env python3
"""h5py reads model.h5 as one model: names, shapes, values, attributes, vocabularies; NaN where a
shard is gone."""

import json
import shutil

import th_run

th_run.use_python_with("h5py", "numpy")
import h5py  # noqa: E402
import numpy  # noqa: E402


class H5py(th_run.SharedRunTest):
    def train_once(self):
        self.train(ranks=3, zero__stage=3, train__max_steps=8)

    def setUp(self):
        super().setUp()
        self.checkpoint = self.latest()

    def test_every_tensor_is_a_virtual_dataset_with_the_values_of_the_shards(self):
        rows = json.loads(self.program("th_inspect", "ls", self.checkpoint, "--json").out)
        with h5py.File(self.checkpoint / "model.h5", "r") as file:
            for row in rows:
                kind, name = row["name"].split("/") if "/" in row["name"] else ("", row["name"])
                dataset = file[f"optimizer/{kind}" if kind else "parameters"][name]
                self.assertEqual(
                    (dataset.shape, dataset.dtype, dataset.is_virtual),
                    (tuple(row["shape"]), numpy.dtype("<f4"), True),
                    row,
                )
                self.assertTrue(
                    {source.file_name for source in dataset.virtual_sources()}
                    <= {f"shard_0000{r}.h5" for r in range(3)}
                )
                self.assertTrue(numpy.isfinite(dataset[:]).all(), row)
            self.assertEqual(
                sorted(file["parameters"]),
                sorted(row["name"] for row in rows if "/" not in row["name"]),
            )
            self.assertEqual(sorted(file["optimizer"]), ["exp_avg", "exp_avg_sq"])
            for name in (
                "encoder.layers.0.linear1.weight",
                "decoder.layers.0.self_attn.in_proj_weight",
                "output_projection.bias",
            ):
                shown = json.loads(
                    self.program("th_inspect", "show", self.checkpoint, name, "--json").out
                )
                numpy.testing.assert_array_equal(
                    file["parameters"][name][:].reshape(len(shown), -1),
                    numpy.array(shown, dtype=numpy.float32),
                )

    def test_attributes_and_vocabularies(self):
        with h5py.File(self.checkpoint / "model.h5", "r") as file:
            seen = {
                name: int(file.attrs[name])
                for name in ("format_version", "step", "epoch", "world_size", "zero_stage")
            }
            self.assertEqual(
                seen, {"format_version": 2, "step": 8, "epoch": 1, "world_size": 3, "zero_stage": 3}
            )
            self.assertRegex(file.attrs["build"], r"^[0-9.]+ \(git .*\)$")
            self.assertIn("torch", file.attrs["identity"])
            deck = file.attrs["deck"]
            self.assertIn("d_model = 64", deck)
            self.assertEqual(
                deck.splitlines()[1:],
                (self.folder / "out" / "resolved.in").read_text().splitlines()[1:],
            )
            for side, language in (("source", "en"), ("target", "fr")):
                words = (self.folder / f"train.{language}").read_bytes().split()
                kept = sorted(
                    {word for word in words if words.count(word) >= 2},
                    key=lambda word, all_words=words: (-all_words.count(word), word),
                )
                self.assertEqual(
                    list(file["vocabulary"][side][:]), [b"<pad>", b"<unk>", b"<s>", b"</s>", *kept]
                )

    def test_moved_folder_reads_the_same(self):
        def values(folder):
            with h5py.File(folder / "model.h5", "r") as file:
                return {name: file["parameters"][name][:] for name in file["parameters"]}

        before = values(self.checkpoint)
        (self.folder / "other").mkdir()
        after = values(th_run.Path(shutil.move(self.checkpoint, self.folder / "other" / "model")))
        self.assertEqual(before.keys(), after.keys())
        for name, value in before.items():
            numpy.testing.assert_array_equal(value, after[name], err_msg=name)

    def test_missing_shard_reads_as_nan_and_the_rest_stays(self):
        with h5py.File(self.checkpoint / "model.h5", "r") as file:
            before = {name: file["parameters"][name][:] for name in file["parameters"]}
            states = {
                name: file["optimizer/exp_avg_sq"][name][:] for name in file["optimizer/exp_avg_sq"]
            }
        (self.checkpoint / "shard_00001.h5").unlink()
        lost = 0
        with h5py.File(self.checkpoint / "model.h5", "r") as file:
            for group, values in (("parameters", before), ("optimizer/exp_avg_sq", states)):
                for name, value in values.items():
                    now = file[group][name][:]
                    gone = numpy.isnan(now)
                    numpy.testing.assert_array_equal(now[~gone], value[~gone], err_msg=name)
                    lost += int(gone.sum())
        total = sum(value.size for value in (*before.values(), *states.values()))
        # Shard 1 of 3 holds a third of every group, but for padding of less than one element a
        # unit.
        self.assertGreater(lost, 0.33 * total)
        self.assertLess(lost, 0.34 * total)

    def test_tied_matrix_is_stored_once_and_there_under_each_name(self):
        self.train(ranks=2, zero__stage=3, train__max_steps=2, model__tie_embeddings="true")
        with h5py.File(self.latest() / "model.h5", "r") as file:
            group = file["parameters"]
            matrices = [
                group[name]
                for name in (
                    "source_embedding.weight",
                    "target_embedding.weight",
                    "output_projection.weight",
                )
            ]
            for matrix in matrices[1:]:
                self.assertEqual(matrix, matrices[0], "the same HDF5 object under another name")
                numpy.testing.assert_array_equal(matrix[:], matrices[0][:])
            numpy.testing.assert_array_equal(
                file["vocabulary/source"][:], file["vocabulary/target"][:]
            )
            self.assertEqual(matrices[0].shape[0], file["vocabulary/source"].shape[0])


if __name__ == "__main__":
    th_run.main()
