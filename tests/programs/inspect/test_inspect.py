#!/usr/bin/env python3
"""th_inspect and HDF5's own tools on a checkpoint: what is there, and what is damaged."""

import json
import math
import re
import shutil
import struct
import subprocess

import th_run

D, F = 64, 128
ATTENTION = {
    "in_proj_weight": [3 * D, D],
    "in_proj_bias": [3 * D],
    "out_proj.weight": [D, D],
    "out_proj.bias": [D],
}
FEED_FORWARD = {
    "linear1.weight": [F, D],
    "linear1.bias": [F],
    "linear2.weight": [D, F],
    "linear2.bias": [D],
}


def names_and_shapes(source_words, target_words):
    """torch.nn.Transformer's state_dict at one layer each, plus the contract's four."""
    shapes = {
        "source_embedding.weight": [source_words, D],
        "target_embedding.weight": [target_words, D],
        "output_projection.weight": [target_words, D],
        "output_projection.bias": [target_words],
    }
    for side, attentions, norms in (
        ("encoder", ["self_attn"], 2),
        ("decoder", ["self_attn", "multihead_attn"], 3),
    ):
        layer = f"{side}.layers.0."
        for attention in attentions:
            shapes.update(
                {f"{layer}{attention}.{name}": shape for name, shape in ATTENTION.items()}
            )
        shapes.update({layer + name: shape for name, shape in FEED_FORWARD.items()})
        for norm in [f"{layer}norm{i + 1}" for i in range(norms)] + [f"{side}.norm"]:
            shapes.update({f"{norm}.weight": [D], f"{norm}.bias": [D]})
    return shapes


class Inspect(th_run.SharedRunTest):
    def train_once(self):
        self.train(ranks=3, zero__stage=3, train__max_steps=3)

    def setUp(self):
        super().setUp()
        self.checkpoint = self.latest()

    def inspect(self, command, *words, code=0):
        result = self.program("th_inspect", command, self.checkpoint, *words, code=code)
        self.assertNotRegex(result.err, "terminate called|Traceback|HDF5-DIAG")
        return result

    def inspect_json(self, command, *words, code=0):
        return json.loads(self.inspect(command, *words, "--json", code=code).out)

    def vocabulary_sizes(self):
        sizes = re.search(
            r"Vocabulary: source (\d+), target (\d+)", (self.folder / "out" / "run.log").read_text()
        )
        return map(int, sizes.groups())

    def flip(self, file, needle, at=0):
        """Changes one byte of the only place where the needle is."""
        path = self.checkpoint / file
        data = bytearray(path.read_bytes())
        self.assertEqual(data.count(needle), 1, f"{needle!r} in {file}")
        data[data.index(needle) + at] ^= 1
        path.write_bytes(data)

    def shard_with(self, needle):
        return [
            path.name
            for path in sorted(self.checkpoint.glob("shard_*.h5"))
            if needle in path.read_bytes()
        ]

    def test_ls_gives_every_name_shape_and_dtype(self):
        expected = names_and_shapes(*self.vocabulary_sizes())
        rows = {row["name"]: row for row in self.inspect_json("ls")}
        for prefix in ("", "exp_avg/", "exp_avg_sq/"):
            self.assertEqual({name: rows[prefix + name]["shape"] for name in expected}, expected)
        self.assertEqual(len(rows), 3 * len(expected), "a name that the contract does not have")
        self.assertEqual({row["dtype"] for row in rows.values()}, {"float32"})
        text = self.inspect("ls").out.splitlines()
        self.assertIn(f"encoder.layers.0.linear1.weight [{F},{D}] float32", text)
        self.assertEqual(len(text), len(rows))

    def test_show_and_stat_agree_and_slices_are_rows(self):
        name = "decoder.layers.0.multihead_attn.in_proj_weight"
        rows = self.inspect_json("show", name)
        self.assertEqual((len(rows), {len(row) for row in rows}), (3 * D, {D}))
        self.assertEqual(
            self.inspect_json("show", f"{name}[60:130]"), rows[60:130]
        )  # over a shard's border and across attention's parts
        self.assertEqual(self.inspect_json("show", f"{name}[190:]"), rows[190:])
        values = [value for row in rows for value in row]
        stat = self.inspect_json("stat")[name]
        mean = math.fsum(values) / len(values)
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
        # th_inspect adds 12288 doubles one after the other: 1e-12 is far above the rounding of that
        # and far below a lost value.
        self.assertAlmostEqual(stat["mean"], mean, delta=1e-12)
        self.assertAlmostEqual(stat["deviation"], deviation, delta=1e-12)
        self.assertEqual(
            (stat["min"], stat["max"], stat["non_finite"]), (min(values), max(values), 0)
        )
        lines = self.inspect("show", name).out.splitlines()
        text = [
            [struct.unpack("f", struct.pack("f", float(word)))[0] for word in line.split()]
            for line in lines
        ]
        self.assertEqual(text, rows, "the plain text reads back to the same float32")

    def test_slices_are_numpys_in_every_dimension(self):
        name = "decoder.layers.0.linear1.weight"
        rows = self.inspect_json("show", name)
        self.assertEqual((len(rows), len(rows[0])), (F, D))
        for text, expected in (
            ("[3:5,-3:]", [row[-3:] for row in rows[3:5]]),
            ("[-2:]", rows[-2:]),
            ("[:, 7]", [[row[7]] for row in rows]),
            ("[-1,:2]", [rows[-1][:2]]),
            ("[5]", [rows[5]]),
            ("[:-120,:-60]", [row[:-60] for row in rows[:-120]]),
            ("[9:9]", []),
        ):
            with self.subTest(text):
                self.assertEqual(self.inspect_json("show", name + text), expected)
        self.assertEqual(len(self.inspect("show", f"exp_avg/{name}[2:4,0:5]").out.splitlines()), 2)
        for text, dimension in (
            (f"[{F}]", "dimension 0 has 128"),
            (f"[0:{F + 1}]", "dimension 0 has 128"),
            ("[0,-65:]", "dimension 1 has 64"),
            ("[0,0,0]", "more dimensions"),
            ("[a]", "BEGIN:END"),
        ):
            with self.subTest(text):
                self.assert_one_message(
                    self.inspect("show", name + text, code=2), re.escape(dimension)
                )

    def test_it_starts_without_libtorch_and_mpi_and_describes_itself(self):
        self.assertTrue(shutil.which("ldd"))
        needed = subprocess.run(
            ["ldd", str(th_run.BIN / "th_inspect")], capture_output=True, text=True, check=True
        ).stdout
        self.assertIn("libhdf5", needed)
        self.assertNotRegex(needed, r"libtorch|libc10|libmpi")
        overview = self.program("th_inspect", "--help").out
        for command in (
            *("info", "ls", "show", "stat"),
            *("verify", "diff", "export", "import", "average"),
        ):
            self.assertIn(f"th_inspect {command} ", overview)
            self.assertIn("--json", self.program("th_inspect", command, "--help").out)
        self.assertRegex(
            self.program("th_inspect", "--version").out, r"\Ath_inspect \d+\.\d+\.\d+ "
        )

    def test_show_of_an_optimizer_state(self):
        squares = self.inspect_json("show", "exp_avg_sq/encoder.norm.weight")
        self.assertTrue(all(value >= 0 for row in squares for value in row))
        self.assertTrue(any(value > 0 for row in squares for value in row))

    def test_unknown_names_folders_and_commands(self):
        self.assertIn("encoder.norm.weigh", self.inspect("show", "encoder.norm.weigh", code=5).err)
        self.inspect("show", "exp_agv/encoder.norm.weight", code=5)
        self.inspect("show", "encoder.norm.weight[3", code=2)
        self.assert_one_message(
            self.inspect("lst", code=2),
            "lst",
            "info, ls, show, stat, verify, diff, export, import, average",
        )
        absent = self.program("th_inspect", "ls", self.folder / "absent", code=5)
        self.assertIn("absent", absent.err)
        self.assertIn("usage", self.program("th_inspect", code=2).err)
        for words in (
            ["ls", "--jsn"],
            ["ls", "--format", "npz"],
            ["show"],
            ["diff"],
            ["export"],
            ["average"],
            ["export", "--output"],
        ):
            with self.subTest(words):
                self.assert_one_message(self.inspect(*words, code=2), "th_inspect: ")
        by_run = self.program(
            "th_inspect", "ls", self.folder / "out"
        )  # a run's folder means its newest checkpoint
        self.assertEqual(by_run.out, self.inspect("ls").out)

    def test_info_says_what_the_checkpoint_is(self):
        run = (self.folder / "out" / "run").read_text().strip()
        steps = self.metrics(kind="step")
        loss = {r["metric"]: r["value"] for r in self.metrics(kind="eval")}["valid_loss"]
        source, target = self.vocabulary_sizes()
        seen = self.inspect_json("info")
        expected = {
            "checkpoint": str(self.checkpoint),
            "step": 3,
            "epoch": 0,
            "step_in_epoch": 3,
            "run": run,
            "world_size": 3,
            "zero_stage": 3,
            "micro_batches": 8,
            "end": "completed",
            "source_vocabulary": source,
            "target_vocabulary": target,
            "tokenizer": "word",
            "groups": ["parameters", "exp_avg", "exp_avg_sq"],
            "damage": None,
        }
        self.assertEqual({key: seen[key] for key in expected}, expected)
        shapes = names_and_shapes(source, target)
        self.assertEqual(seen["tensors"], len(shapes))
        self.assertEqual(seen["parameters"], sum(math.prod(s) for s in shapes.values()))
        self.assertEqual(seen["scores"]["train loss"], float(steps[-1]["loss"]))
        self.assertEqual(seen["scores"]["valid loss"], float(loss))
        self.assertIn("isa=", seen["identity"])
        self.assertIn("[model]", seen["deck"])
        text = self.inspect("info").out
        self.assertRegex(text, r"(?m)^step +3$")
        self.assertRegex(text, rf"(?m)^run +{run}$")
        self.assertRegex(text, rf"(?m)^vocabularies +source {source}, target {target} words$")
        self.assertIn("\n  model.d_model = 64\n", text)
        self.assertNotIn("model.norm =", text)
        for name in ("latest", "final"):
            path = self.checkpoint.parent / name
            self.assertEqual(self.program("th_inspect", "info", path).out, text)
        with (self.folder / "out" / "metrics.jsonl").open("ab") as file:
            for value in (b"[" * 100000, b'{"a":[1]}', b'"much"', b"true", bytes(100)):
                file.write(b'{"kind":"eval","step":3,"metric":"x","value":' + value + b"}\n")
            file.write(b'{"kind":"step","step":1e300}\n{"kind":"eval"}\n')
        self.assertEqual(self.inspect_json("info"), seen, "lines that are no records are nothing")

    def test_info_of_a_checkpoint_alone_has_no_scores_of_its_run(self):
        (self.folder / "out" / "metrics.jsonl").unlink()
        (self.checkpoint / "shard_00001.h5").unlink()
        seen = self.inspect_json("info")
        self.assertEqual(seen["scores"], {})
        self.assertIn("shard_00001.h5 is missing", seen["damage"])
        self.assertRegex(self.inspect("info").out, "(?m)^shards .*shard_00001.h5 is missing")

    def test_stat_is_a_table(self):
        lines = self.inspect("stat").out.splitlines()
        self.assertEqual(
            lines[0].split(), ["name", "mean", "deviation", "min", "max", "not", "finite"]
        )
        self.assertEqual(len({len(line) for line in lines}), 1, "columns stand below one another")
        rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
        for name, row in self.inspect_json("stat").items():
            values = [row[key] for key in ("mean", "deviation", "min", "max", "non_finite")]
            for text, value in zip(rows[name], values):
                self.assertAlmostEqual(float(text), value, delta=1e-5 * abs(value))

    def test_codes_are_alike_in_all_commands(self):
        (self.folder / "empty").mkdir()
        commands = (
            *(("info",), ("ls",), ("stat",), ("verify",), ("show", "encoder.norm.weight")),
            *(("export", "--output", "w.npz"), ("average", "out", "--output", "new")),
        )
        for place in ("absent", "empty"):
            for command, *words in (*commands, ("diff", "out")):
                result = self.program("th_inspect", command, place, *words, code=5)
                self.assert_one_message(result, f"no complete checkpoint at {place}")
        (self.checkpoint / "model.h5").write_bytes(b"no HDF5")
        for command, *words in commands[:-1]:
            code = 1 if command == "verify" else 5
            result = self.inspect(command, *words, code=code)
            self.assertIn("model.h5", result.out + result.err)

    def test_verify_of_a_sound_checkpoint(self):
        self.assertEqual(
            self.inspect_json("verify"),
            {"ok": True, "checkpoint": str(self.checkpoint), "problems": []},
        )
        self.assertIn("is right", self.inspect("verify").out)

    def test_verify_finds_one_flipped_bit_of_any_kind(self):
        for name, dataset in (
            ("encoder.norm.weight", "parameters"),
            ("exp_avg/decoder.norm.bias", "exp_avg"),
            ("exp_avg_sq/encoder.norm.bias", "exp_avg_sq"),
        ):
            with self.subTest(name):
                rows = self.inspect_json("show", f"{name}[1:4]")
                needle = struct.pack("<3f", *[value for row in rows for value in row])
                shards = self.shard_with(needle)
                self.assertEqual(len(shards), 1)
                self.flip(shards[0], needle, at=5)
                problems = self.inspect_json("verify", code=1)["problems"]
                self.assertEqual(len(problems), 1)
                self.assertRegex(problems[0], rf"{shards[0]}.*\b{dataset}\b.*checksum")
                self.assertEqual(self.inspect("verify", code=1).out.strip(), problems[0])
                path = self.checkpoint / shards[0]
                shutil.copy(type(self).kept / path.relative_to(self.folder), path)
        self.assertTrue(self.inspect_json("verify")["ok"])

    def test_verify_names_a_missing_and_a_cut_shard(self):
        (self.checkpoint / "shard_00001.h5").unlink()
        with open(self.checkpoint / "shard_00002.h5", "r+b") as file:
            file.truncate(50000)
        problems = self.inspect_json("verify", code=1)["problems"]
        self.assertEqual(len(problems), 2)
        self.assertRegex(problems[0], "shard_00001.h5 is missing")
        self.assertRegex(problems[1], "shard_00002.h5")
        self.inspect("ls")
        self.assertIn("shard_0000", self.inspect("stat", code=5).err)

    def test_verify_finds_damage_of_the_deck_in_model_h5(self):
        self.flip("model.h5", b"num_encoder_layers = 1", at=21)
        self.assertIn("model.h5", "".join(self.inspect_json("verify", code=1)["problems"]))

    def test_verify_finds_damage_of_a_vocabulary_word(self):
        words = set((self.folder / "train.en").read_bytes().split()) - set(
            (self.folder / "train.fr").read_bytes().split()
        )
        self.flip("model.h5", max(sorted(words), key=len), at=3)
        self.assertIn("vocabular", "".join(self.inspect_json("verify", code=1)["problems"]))

    def test_verify_finds_a_virtual_dataset_that_has_lost_its_source(self):
        data = (self.checkpoint / "model.h5").read_bytes()
        self.assertGreater(data.count(b"shard_00001.h5"), 10)
        (self.checkpoint / "model.h5").write_bytes(
            data.replace(b"shard_00001.h5", b"shard_00009.h5", 1)
        )
        self.assertFalse(self.inspect_json("verify", code=1)["ok"])

    def hdf5_tool(self, *words):
        """What h5ls or h5dump prints of the checkpoint's model.h5."""
        self.assertTrue(shutil.which(words[0]), "hdf5-tools are among the required packages")
        return subprocess.run(
            [*words, str(self.checkpoint / "model.h5")],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=th_run.LIMIT_S,
        ).stdout

    def test_hdf5_tools_read_model_h5_also_after_a_move(self):
        self.checkpoint = shutil.move(self.checkpoint, self.folder / "elsewhere")
        listing = [line.split(maxsplit=2) for line in self.hdf5_tool("h5ls", "-r").splitlines()]
        for name, shape in names_and_shapes(*self.vocabulary_sizes()).items():
            for group in ("parameters", "optimizer/exp_avg", "optimizer/exp_avg_sq"):
                self.assertIn(
                    [f"/{group}/{name}", "Dataset", str(shape).replace("[", "{").replace("]", "}")],
                    listing,
                )
        weight = "/parameters/encoder.layers.0.linear1.weight"
        header = self.hdf5_tool("h5dump", "-p", "-H", "-d", weight)
        self.assertRegex(header, "VIRTUAL")
        self.assertRegex(header, r'SOURCE\s*{\s*FILE "shard_0000\d\.h5"')
        norm = "/parameters/encoder.norm.weight"
        dumped = self.hdf5_tool("h5dump", "-y", "-m", "%.9g", "-d", norm)
        values = re.search(r"DATA {(.*?)}", dumped, re.S).group(1).replace(",", " ").split()
        shown = self.inspect("show", "encoder.norm.weight").out.split()
        self.assertEqual(list(map(float, values)), list(map(float, shown)))
        attributes = self.hdf5_tool("h5dump", "-A")
        for name in (
            "format_version",
            "step",
            "epoch",
            "deck",
            "world_size",
            "zero_stage",
            "build",
        ):
            self.assertIn(f'ATTRIBUTE "{name}"', attributes)

    def test_verify_of_a_run_does_not_pass_over_its_damaged_newest_checkpoint(self):
        run = self.checkpoint.parents[1]
        whole = self.program("th_inspect", "verify", run)
        self.assertIn(self.checkpoint.name, whole.out)
        shutil.copytree(self.checkpoint, self.checkpoint.parent / "step_00000099")
        (self.checkpoint.parent / "latest").write_text("step_00000099\n")
        (self.checkpoint.parent / "step_00000099" / "shard_00001.h5").unlink()
        result = self.program("th_inspect", "verify", run, code=1)
        self.assertIn("shard_00001.h5 is missing", result.out)
        self.assertFalse(
            json.loads(self.program("th_inspect", "verify", run, "--json", code=1).out)["ok"]
        )


if __name__ == "__main__":
    th_run.main()
