#!/usr/bin/env python3
"""th_inspect export: what the packages safetensors and numpy read of it is what h5py reads in the
checkpoint, bit for bit."""

import json
import resource
import signal
import struct
import subprocess

import th_run

th_run.use_python_with("h5py", "numpy", "safetensors.numpy")
import h5py  # noqa: E402
import numpy  # noqa: E402
import safetensors  # noqa: E402
import safetensors.numpy  # noqa: E402

ALIASES = {
    "target_embedding.weight": "source_embedding.weight",
    "output_projection.weight": "source_embedding.weight",
}


def checkpoint_values(folder, states=("exp_avg", "exp_avg_sq")):
    """{name: float32 array} of the parameters, and of the given states as STATE/NAME."""
    with h5py.File(folder / "model.h5", "r") as file:
        values = {name: file["parameters"][name][:] for name in file["parameters"]}
        for state in states:
            values.update(
                {
                    f"{state}/{name}": file["optimizer"][state][name][:]
                    for name in file["optimizer"][state]
                }
            )
    return values


def bfloat16(values):
    """Bit patterns, to nearest, ties to even; NaN apart."""
    bits = values.view(numpy.uint32).astype(numpy.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)
    return numpy.where(
        numpy.isnan(values),
        numpy.uint16(0x7FC0) | ((bits >> 16) & 0x8000).astype(numpy.uint16),
        rounded,
    )


def raw(path):
    """{name: (dtype, shape, bytes)} as the safetensors package takes the file apart: it has no
    bfloat16 for numpy."""
    return {
        name: (entry["dtype"], entry["shape"], bytes(entry["data"]))
        for name, entry in safetensors.deserialize(path.read_bytes())
    }


def file_metadata(path):
    with safetensors.safe_open(path, "numpy") as file:
        return file.metadata()


class Export(th_run.SharedRunTest):
    def train_once(self):
        self.train(ranks=3, zero__stage=3, train__max_steps=8)

    def export(self, name, *words, code=0, checkpoint="out"):
        return self.program("th_inspect", "export", checkpoint, "--output", name, *words, code=code)

    def assert_same(self, seen, expected):
        self.assertEqual(sorted(seen), sorted(expected))
        for name, values in expected.items():
            self.assertEqual(
                (seen[name].shape, seen[name].dtype), (values.shape, values.dtype), name
            )
            self.assertEqual(seen[name].tobytes(), values.tobytes(), name)

    def test_safetensors_holds_every_value_and_what_a_whole_checkpoint_needs(self):
        self.export("parameters.safetensors")
        self.assert_same(
            safetensors.numpy.load_file(self.folder / "parameters.safetensors"),
            checkpoint_values(self.latest(), states=()),
        )
        answer = json.loads(self.export("w.safetensors", "--states", "--json").out)
        path = self.folder / "w.safetensors"
        values = checkpoint_values(self.latest())
        self.assert_same(safetensors.numpy.load_file(path), values)
        self.assertEqual(
            (answer["tensors"], answer["bytes"], answer["overflowed"]),
            (len(values), path.stat().st_size, 0),
        )
        data = path.read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        self.assertEqual(length % 8, 0)
        self.assertEqual(len(data), 8 + length + sum(array.nbytes for array in values.values()))
        metadata = file_metadata(path)
        with h5py.File(self.latest() / "model.h5", "r") as file:
            self.assertEqual(
                (metadata["step"], metadata["epoch"], metadata["deck"]),
                ("8", "1", file.attrs["deck"]),
            )
            for side in ("source", "target"):
                self.assertEqual(
                    [word.encode() for word in json.loads(metadata[f"vocabulary_{side}"])],
                    list(file["vocabulary"][side][:]),
                )

    def test_16_bit_weights_of_a_stage_3_run(self):
        values = checkpoint_values(self.latest())
        self.export("b.safetensors", "--dtype", "bf16", "--states")
        seen = raw(self.folder / "b.safetensors")
        self.assertEqual(sorted(seen), sorted(values))
        for name, (dtype, shape, data) in seen.items():
            expected = (
                values[name] if "/" in name else bfloat16(values[name])
            )  # optimizer states stay fp32
            self.assertEqual(
                (dtype, list(shape), data),
                ("F32" if "/" in name else "BF16", list(values[name].shape), expected.tobytes()),
                name,
            )
        parameters = checkpoint_values(self.latest(), states=())
        for name in ("h.safetensors", "h.npz"):
            self.export(name, "--dtype", "fp16")
            read = (
                safetensors.numpy.load_file
                if name.endswith("s")
                else lambda path: dict(numpy.load(path))
            )
            self.assert_same(
                read(self.folder / name),
                {name: array.astype(numpy.float16) for name, array in parameters.items()},
            )

    def test_npz_holds_every_value(self):
        self.export("w.npz", "--states")
        with numpy.load(self.folder / "w.npz", allow_pickle=False) as file:
            self.assert_same(dict(file), checkpoint_values(self.latest()))
        self.export("named", "--format", "npz")
        with numpy.load(self.folder / "named", allow_pickle=False) as file:
            self.assert_same(dict(file), checkpoint_values(self.latest(), states=()))

    def test_rounding_of_special_values(self):
        """Denormals of both 16-bit types, ties, the borders of their ranges, infinities and NaN,
        brought in by an import."""
        special = numpy.array(
            [
                0.0,
                -0.0,
                1.0,
                numpy.inf,
                -numpy.inf,
                numpy.nan,
                65504,
                65519.996,
                65520,
                -65536,
                3.4e38,
                -3.4028235e38,
                1e-40,
                -1e-45,
                2.0**-14,
                2.0**-15,
                2.0**-24,
                2.0**-25,
                3 * 2.0**-25,
                -(2.0**-25 + 2.0**-40),
                1 + 2.0**-11,
                1 + 3 * 2.0**-11,
                1 + 2.0**-8,
                1 + 3 * 2.0**-8,
                2.0**-126,
                2.0**-133,
                2.0**-134,
                3 * 2.0**-134,
            ],
            dtype=numpy.float32,
        )
        values = checkpoint_values(self.latest(), states=())
        values["encoder.norm.weight"][: special.size] = special
        safetensors.numpy.save_file(values, self.folder / "special.safetensors")
        self.program(
            "th_inspect", "import", "special.safetensors", "--like", "out", "--output", "special"
        )
        name = "encoder.norm.weight"
        self.assertEqual(
            checkpoint_values(self.folder / "special", states=())[name].tobytes(),
            values[name].tobytes(),
        )
        with numpy.errstate(over="ignore"):
            half = values[name].astype(numpy.float16)
        result = self.export("h.npz", "--dtype", "fp16", "--json", checkpoint="special")
        seen = numpy.load(self.folder / "h.npz")[name]
        self.assertTrue(numpy.array_equal(seen, half, equal_nan=True))
        self.assertEqual(numpy.signbit(seen).tolist(), numpy.signbit(half).tolist())
        overflowed = int((numpy.isinf(half) & numpy.isfinite(values[name])).sum())
        self.assertEqual((json.loads(result.out)["overflowed"], overflowed), (4, 4))
        self.assertIn("4 values are too large for fp16", result.err)
        self.export("b.safetensors", "--dtype", "bf16", checkpoint="special")
        seen = numpy.frombuffer(raw(self.folder / "b.safetensors")[name][2], dtype=numpy.uint16)
        self.assertEqual(seen.tolist(), bfloat16(values[name]).tolist())

    def test_tied_tensor_stands_once_in_safetensors_and_under_each_name_in_npz(self):
        self.train(
            ranks=2,
            zero__stage=3,
            train__max_steps=2,
            model__tie_embeddings="true",
            run__output_dir="tied",
        )
        values = checkpoint_values(self.latest("tied"), states=())
        self.export("t.safetensors", checkpoint="tied")
        self.assert_same(
            safetensors.numpy.load_file(self.folder / "t.safetensors"),
            {n: v for n, v in values.items() if n not in ALIASES},
        )
        self.assertEqual(
            json.loads(file_metadata(self.folder / "t.safetensors")["aliases"]), ALIASES
        )
        self.export("t.npz", checkpoint="tied")
        self.assert_same(dict(numpy.load(self.folder / "t.npz")), values)

    def test_what_is_exported_without_its_moving_average_translates_after_an_import(self):
        """The run decodes with the average: as the parameters it is the same model."""
        self.train(
            train__max_steps=6,
            train__ema_decay=0.9,
            decode__parameters="ema",
            run__output_dir="own",
        )
        with h5py.File(self.latest("own") / "model.h5", "r") as file:
            deck = file.attrs["deck"]
        words = ("--score", "--input", "valid.en", "--target", "valid.fr")

        def score(checkpoint, *more, code=0):
            return self.program("th_translate", checkpoint, *words, *more, code=code)

        for parameters in ("ema", "trained"):
            with self.subTest(parameters):
                name = f"{parameters}.safetensors"
                self.export(name, "--parameters", parameters, checkpoint="own")
                metadata = file_metadata(self.folder / name)
                self.assertRegex(metadata["deck"], r"\nparameters = trained ")
                self.assertRegex(metadata["deck"], r"\nema_decay = 0 ")
                for like in ((), ("--like", "own")):
                    self.program(
                        *("th_inspect", "import", name, *like, "--output", "back", "--force")
                    )
                    self.assertEqual(
                        score("back").out, score("own", "--parameters", parameters).out
                    )
        self.assert_one_message(
            score("back", "--parameters", "ema", code=5),
            "back holds no moving average of the parameters; --parameters trained",
        )
        # With its states the file has the average, and the deck stays the run's.
        self.export("w.safetensors", "--states", checkpoint="own")
        self.assertEqual(file_metadata(self.folder / "w.safetensors")["deck"], deck)
        self.program("th_inspect", "import", "w.safetensors", "--output", "whole")
        self.assertEqual(score("whole").out, score("own").out)

    def test_what_can_not_be_done_is_refused_and_leaves_nothing(self):
        self.export("there.npz")
        before = th_run.tree(self.folder)
        self.assert_one_message(
            self.export("there.npz", code=2), "there.npz is already there", "--force"
        )
        self.assert_one_message(
            self.export("w.npz", "--dtype", "bf16", code=2),
            "numpy has no bfloat16",
            "fp16",
            "safetensors",
        )
        self.assert_one_message(self.export("w.bin", code=2), "--format is missing")
        self.assert_one_message(
            self.export("w.npz", "--format", "pickle", code=2),
            "pickle is unknown; allowed safetensors, npz",
        )
        self.assert_one_message(
            self.export("w.npz", "--dtype", "int8", code=2),
            "int8 is unknown; allowed fp32, bf16, fp16",
        )
        self.assert_one_message(self.export("absent/w.npz", code=5), "cannot create absent/w.npz")
        self.assertEqual(th_run.tree(self.folder), before)
        self.export("there.npz", "--dtype", "fp16", "--force")
        self.assertNotEqual(th_run.tree(self.folder)["there.npz"], before["there.npz"])
        shard = self.latest() / "shard_00001.h5"
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
        self.assert_one_message(
            self.export("w.npz", checkpoint=self.latest(), code=5), "is damaged: .*shard_00001.h5"
        )
        self.assertEqual(sorted(th_run.tree(self.folder)), sorted(before))

    def test_disk_that_does_not_hold_the_output_leaves_nothing(self):
        """A limit on the size of files stands for the full disk: writes fail with errno's text in
        the midst of the output."""
        self.export("whole.safetensors", "--states")

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

        before = th_run.tree(self.folder)
        for words in (
            ["export", "out", "--output", "w.safetensors"],
            ["export", "out", "--output", "w.npz"],
            ["import", "whole.safetensors", "--output", "new"],
            ["average", "out", "out", "--output", "new"],
        ):
            with self.subTest(words):
                done = subprocess.run(
                    [th_run.BIN / "th_inspect", *words],
                    cwd=self.folder,
                    env=self.environment,
                    preexec_fn=limit,
                    capture_output=True,
                    text=True,
                    timeout=th_run.LIMIT_S,
                    check=False,
                )
                self.assertEqual(
                    (done.returncode, done.stdout, len(done.stderr.splitlines())),
                    (5, "", 1),
                    done.stderr,
                )
                self.assertRegex(done.stderr, "^th_inspect: .*(cannot write|failed in HDF5)")
                self.assertEqual(th_run.tree(self.folder), before)


if __name__ == "__main__":
    th_run.main()
