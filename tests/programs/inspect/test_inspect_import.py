#!/usr/bin/env python3
"""th_inspect import: checkpoints from safetensors files, whole ones and foreign ones."""

import json
import re
import struct

import th_run

th_run.use_python_with("h5py", "numpy", "safetensors.numpy")
import h5py  # noqa: E402
import numpy  # noqa: E402
import safetensors.numpy  # noqa: E402

STEPS = 8


def parameters(folder):
    with h5py.File(folder / "model.h5", "r") as file:
        return {name: file["parameters"][name][:] for name in file["parameters"]}


def tokens(folder, side):
    with h5py.File(folder / "model.h5", "r") as file:
        return list(file["vocabulary"][side][:])


class SafetensorsFile:
    """The bytes of a safetensors file, and its JSON header, which a damage changes."""

    def __init__(self, data):
        self.data = data
        self.length = struct.unpack("<Q", data[:8])[0]
        self.header = json.loads(data[8 : 8 + self.length])

    def with_header(self, change):
        header = json.loads(json.dumps(self.header))
        change(header)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + self.data[8 + self.length :]


def damaged_layouts(whole):
    """{name: (content, the message's text)} of files whose lengths, types or offsets are wrong."""
    first, second = sorted(
        (n for n in whole.header if n != "__metadata__"),
        key=lambda n: whole.header[n]["data_offsets"],
    )[:2]

    def overlap(header):
        moved = [offset - 4 for offset in header[second]["data_offsets"]]
        header[second].update(data_offsets=moved)

    return {
        "truncated": (whole.data[:-100], "cut off or damaged"),
        "empty": (b"", "has 0 bytes"),
        "header cut off": (whole.data[: 8 + whole.length // 2], "its header has"),
        "header too long": (
            struct.pack("<Q", 1 << 40) + whole.data[8:],
            "its header has 1099511627776 bytes",
        ),
        "overlap": (whole.with_header(overlap), "overlap or leave a gap"),
        "dtype": (
            whole.with_header(lambda h: h[first].update(dtype="I32")),
            "dtype I32; allowed F32, F16, BF16",
        ),
        "shape": (
            whole.with_header(lambda h: h[first].update(shape=[3])),
            "not what its shape and dtype take",
        ),
    }


def damaged_metadata(whole):
    """{name: (content, the message's text)} of files whose metadata can't be those of a run."""

    def with_metadata(**values):
        return whole.with_header(lambda header: header["__metadata__"].update(values))

    return {
        "deck": (with_metadata(deck="[model]\nd_model = many\n"), "model.d_model"),
        "vocabulary": (
            with_metadata(vocabulary_source="[1, 2]"),
            "vocabulary_source of its metadata",
        ),
        "other words": (
            with_metadata(vocabulary_source='["<pad>", "<unk>", "<s>", "</s>", "a", "a"]'),
            "occurs twice",
        ),
        "state": (with_metadata(state="{}"), "run state can't be read"),
        "step": (with_metadata(step="-3"), "step of its metadata is '-3'"),
    }


class Import(th_run.SharedRunTest):
    def train_once(self):
        self.train(ranks=2, zero__stage=3, train__max_steps=STEPS)

    def setUp(self):
        super().setUp()
        for side in ("source", "target"):
            (self.folder / f"{side}.txt").write_bytes(
                b"\n".join(tokens(self.latest(), side)) + b"\n"
            )

    def inspect(self, command, *words, code=0):
        return self.program("th_inspect", command, *words, code=code)

    def save(self, name, tensors, metadata=None):
        safetensors.numpy.save_file(tensors, self.folder / name, metadata)

    def translate(self, checkpoint):
        return self.program(
            "th_translate",
            checkpoint,
            text="".join((self.folder / "valid.en").read_text().splitlines(keepends=True)[:5]),
        ).out

    def test_what_was_exported_comes_back_and_the_run_goes_on_bit_for_bit(self):
        self.inspect("export", "out", "--states", "--output", "w.safetensors")
        answer = json.loads(
            self.inspect("import", "w.safetensors", "--output", "back", "--json").out
        )
        self.assertEqual((answer["step"], answer["states"]), (STEPS, ["exp_avg", "exp_avg_sq"]))
        self.inspect("verify", "back")
        self.assertIn("the same", self.inspect("diff", "out", "back").out)
        for side in ("source", "target"):
            self.assertEqual(tokens(self.folder / "back", side), tokens(self.latest(), side))
        self.assertEqual(self.translate("back"), self.translate("out"))
        self.train(
            ranks=3,
            zero__stage=1,
            train__max_steps=STEPS + 5,
            checkpoint__resume=self.latest(),
            run__output_dir="whole",
        )
        result = self.train(
            zero__stage=0,
            train__max_steps=STEPS + 5,
            checkpoint__resume="back",
            run__output_dir="went_on",
        )
        self.assert_one_message(result, "imported from w.safetensors", "no probe loss to compare")
        self.assertEqual(len(self.metrics("whole", "step")), 5)
        self.assert_same_run("went_on", "whole")
        self.assert_same_checkpoint("went_on", "whole")
        # What the run saves then is its own again: the next resume compares the probe.
        result = self.train(
            train__max_steps=STEPS + 6,
            checkpoint__resume=self.latest("went_on"),
            run__output_dir="again",
        )
        self.assertNotIn("no probe loss", result.out + result.err)

    def test_parameters_alone_start_a_new_run_but_do_not_go_on(self):
        self.inspect("export", "out", "--output", "w.safetensors")
        self.inspect("import", "w.safetensors", "--output", "back")
        self.assertEqual(
            {name: array.tobytes() for name, array in parameters(self.folder / "back").items()},
            {name: array.tobytes() for name, array in parameters(self.latest()).items()},
        )
        self.assert_one_message(
            self.train(checkpoint__resume="back", run__output_dir="refused", code=5),
            "parameters alone",
            "checkpoint.init_from",
        )
        # At a learning rate of 0 the parameters stay what they were.
        result = self.train(
            ranks=3,
            zero__stage=3,
            train__max_steps=1,
            checkpoint__init_from="back",
            optimizer__lr=0,
            run__output_dir="tuned",
        )
        self.assert_one_message(result, "Parameters from .*back, a fresh optimizer, step 0")
        self.inspect("diff", "tuned", "back", "--parameters-only")
        self.assertEqual([step["step"] for step in self.metrics("tuned", "step")], ["1"])

    def test_foreign_file_takes_its_model_from_a_deck_or_a_checkpoint(self):
        own = parameters(self.latest())
        self.save("foreign.safetensors", own)
        before = th_run.tree(self.folder)
        self.assert_one_message(
            self.inspect("import", "foreign.safetensors", "--output", "n", code=2),
            "says nothing of its model",
            "--like",
            "--deck",
        )
        deck = self.folder / "out" / "resolved.in"
        self.assert_one_message(
            self.inspect("import", "foreign.safetensors", "--output", "n", "--deck", deck, code=2),
            "no vocabularies",
            "--vocabulary-source",
        )
        self.assert_one_message(
            self.inspect(
                "import",
                "foreign.safetensors",
                "--output",
                "n",
                "--deck",
                deck,
                "--like",
                "out",
                code=2,
            ),
            "--like brings",
        )
        self.assertEqual(th_run.tree(self.folder), before)
        self.inspect(
            "import",
            "foreign.safetensors",
            "--output",
            "a",
            "--deck",
            deck,
            "--vocabulary-source",
            "source.txt",
            "--vocabulary-target",
            "target.txt",
        )
        self.inspect("import", "foreign.safetensors", "--output", "b", "--like", "out")
        for name in ("a", "b"):
            self.inspect("verify", name)
            self.inspect("diff", name, "out", "--parameters-only")
            self.assertEqual(self.translate(name), self.translate("out"))
        self.train(train__max_steps=1, checkpoint__init_from="a", run__output_dir="tuned")
        # A path of the deck that is no UTF-8 does not hinder an answer in JSON.
        odd = self.folder / "odd.in"
        odd.write_bytes(deck.read_bytes().replace(b"/train.en", b"/caf\xe9.en"))
        words = ["--vocabulary-source", "source.txt", "--vocabulary-target", "target.txt"]
        self.inspect("import", "foreign.safetensors", "--output", "c", "--deck", odd, *words)
        deck = json.loads(self.program("th_inspect", "info", "c", "--json").out)["deck"]
        self.assertIn("/caf\ufffd.en", deck)

    def test_16_bit_files_are_widened_exactly(self):
        own = parameters(self.latest())
        half = {name: array.astype(numpy.float16) for name, array in own.items()}
        self.save("half.safetensors", half)
        self.inspect("import", "half.safetensors", "--like", "out", "--output", "half")
        for name, array in parameters(self.folder / "half").items():
            self.assertEqual(array.tobytes(), half[name].astype(numpy.float32).tobytes(), name)
        self.inspect("export", "out", "--dtype", "bf16", "--output", "b.safetensors")
        self.inspect("import", "b.safetensors", "--output", "b")
        for name, array in parameters(self.folder / "b").items():
            bits = array.view(numpy.uint32)
            self.assertFalse((bits & 0xFFFF).any(), name)
            self.assertLessEqual(
                float(numpy.abs(array - own[name]).max()),
                float(numpy.abs(own[name]).max()) * 2.0**-8,
                name,
            )

    def test_another_model_is_refused_tensor_by_tensor(self):
        own = parameters(self.latest())
        cases = {
            "missing": {n: v for n, v in own.items() if n != "encoder.norm.bias"},
            "extra": {**own, "extra.weight": own["encoder.norm.bias"]},
            "shape": {
                **own,
                "encoder.layers.0.linear1.bias": own["encoder.norm.bias"],
                "decoder.norm.weight": own["decoder.norm.weight"][:7],
            },
        }
        expected = {
            "missing": [r"encoder.norm.bias: \[64\] in the model, not in the file"],
            "extra": [r"extra.weight: \[64\] in the file, not in the model"],
            "shape": [
                r"encoder.layers.0.linear1.bias: \[64\] in the file, \[128\] in the model",
                r"decoder.norm.weight: \[7\] in the file, \[64\]",
            ],
        }
        for name, tensors in cases.items():
            with self.subTest(name):
                self.save(
                    "x.safetensors",
                    {key: numpy.ascontiguousarray(value) for key, value in tensors.items()},
                )
                before = th_run.tree(self.folder)
                result = self.inspect(
                    "import", "x.safetensors", "--like", "out", "--output", "new", code=5
                )
                for pattern in expected[name]:
                    self.assert_one_message(result, pattern)
                self.assertEqual(result.err.count("th_inspect:"), 1)
                self.assertEqual(th_run.tree(self.folder), before)

    def test_states_without_their_run_or_half_of_them_are_refused(self):
        own = parameters(self.latest())
        first = {f"exp_avg/{name}": value for name, value in own.items()}
        for tensors, expected in (
            ({**own, **first}, "exp_avg alone"),
            (
                {**own, **first, **{f"exp_avg_sq/{n}": v for n, v in own.items()}},
                "does not say after which step",
            ),
        ):
            self.save("x.safetensors", tensors)
            self.assert_one_message(
                self.inspect("import", "x.safetensors", "--like", "out", "--output", "new", code=5),
                expected,
            )
            self.assertFalse((self.folder / "new").exists())

    def test_states_of_fp32_stay_whole_like_a_checkpoint_that_keeps_them_in_bf16(self):
        self.inspect("export", "out", "--states", "--output", "w.safetensors")
        self.train(train__max_steps=1, optimizer__state_dtype="bf16", run__output_dir="short")
        self.inspect("import", "w.safetensors", "--like", "short", "--output", "back")
        self.inspect("verify", "back")
        self.inspect("diff", "back", "out")
        self.train(
            train__max_steps=STEPS + 1,
            optimizer__state_dtype="bf16",
            checkpoint__resume="back",
            run__output_dir="went_on",
        )
        self.assertEqual(
            [step["step"] for step in self.metrics("went_on", "step")], [str(STEPS + 1)]
        )

    def test_tied_tensor_may_stand_under_any_of_its_names(self):
        self.train(
            ranks=2, train__max_steps=2, model__tie_embeddings="true", run__output_dir="tied"
        )
        own = parameters(self.latest("tied"))
        names = ("source_embedding.weight", "target_embedding.weight", "output_projection.weight")
        self.save("all.safetensors", {name: value.copy() for name, value in own.items()})
        self.save(
            "one.safetensors", {name: value for name, value in own.items() if name not in names[:2]}
        )
        for name in ("all", "one"):
            self.inspect("import", f"{name}.safetensors", "--like", "tied", "--output", name)
            self.inspect("diff", name, "tied", "--parameters-only")
        own["output_projection.weight"] = own["output_projection.weight"] + 1
        self.save("other.safetensors", own)
        self.assert_one_message(
            self.inspect(
                "import", "other.safetensors", "--like", "tied", "--output", "other", code=5
            ),
            "output_projection.weight: other values than source_embedding.weight",
        )

    def test_damaged_files_give_one_message_and_leave_nothing(self):
        self.inspect("export", "out", "--output", "w.safetensors")
        whole = SafetensorsFile((self.folder / "w.safetensors").read_bytes())
        cases = {**damaged_layouts(whole), **damaged_metadata(whole)}
        before = th_run.tree(self.folder)
        for name, (content, expected) in cases.items():
            with self.subTest(name):
                (self.folder / "w.safetensors").write_bytes(content)
                result = self.inspect(
                    "import",
                    "w.safetensors",
                    "--output",
                    "new",
                    code=3 if name == "other words" else 5,
                )
                self.assert_one_message(result, re.escape(expected))
                self.assertLessEqual(len(result.err.splitlines()), 2, result)
        (self.folder / "w.safetensors").write_bytes(whole.data)
        self.assertEqual(th_run.tree(self.folder), before)

    def test_output_that_is_there_is_replaced_only_when_asked(self):
        self.inspect("export", "out", "--output", "w.safetensors")
        self.inspect("import", "w.safetensors", "--output", "new")
        self.assert_one_message(
            self.inspect("import", "w.safetensors", "--output", "new", code=2),
            "new is already there",
            "--force",
        )
        self.inspect("import", "w.safetensors", "--output", "new/", "--force")
        before = th_run.tree(self.folder)
        self.assert_one_message(
            self.inspect("import", "w.safetensors", "--output", "out", "--force", code=2),
            "other things than one checkpoint",
        )
        self.assertEqual(th_run.tree(self.folder), before)


if __name__ == "__main__":
    th_run.main()
