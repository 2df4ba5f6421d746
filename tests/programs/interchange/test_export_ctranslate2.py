#!/usr/bin/env python3
"""th_inspect export --format ctranslate2: every variable is the checkpoint's, what CTranslate2
cannot compute is refused, and where CTranslate2 is at hand it says what th_translate says."""

import json

import th_run

th_run.use_python_with("h5py", "numpy")
import ct2_file  # noqa: E402
import h5py  # noqa: E402
import numpy  # noqa: E402

# Options that CTranslate2 has, some beside each other.
MODELS = {
    "default": {},
    "post": {
        "model__norm": "post",
        "model__activation": "gelu",
        "model__tie_embeddings": "all",
    },
    "marian": {
        "model__norm": "post",
        "model__final_norm": "false",
        "model__activation": "swish",
        "model__position_layout": "halves",
        "model__position_frequency": "marian",
        "model__norm_eps": "1e-6",
        "model__start": "zero",
    },
    "modern": {
        "model__norm_kind": "rms",
        "model__activation": "swiglu",
        "model__position": "rope",
        "model__rope_scaling": "linear",
        "model__rope_scaling_factor": 2,
        "model__position_layout": "halves",
        "model__tie_embeddings": "decoder",
    },
    "ntk": {
        "model__position": "rope",
        "model__rope_scaling": "ntk",
        "model__rope_scaling_factor": 4,
        "model__final_norm": "false",
    },
    "learned": {
        "model__position": "learned",
        "model__embedding_norm": "true",
        "model__start": "zero",
        "model__tie_embeddings": "embeddings",
    },
}
REFUSED = {
    "model.encoder_attention = local": {
        "model__encoder_attention": "local",
        "model__attention_window": 4,
    },
    "model.decoder_attention = local": {
        "model__decoder_attention": "local",
        "model__attention_window": 4,
    },
    "model.cross_attention = local": {
        "model__cross_attention": "local",
        "model__attention_window": 4,
    },
    "model.cross_downsample = 2": {"model__cross_downsample": 2},
    "model.position = alibi": {"model__position": "alibi"},
    "model.qk_norm = true": {"model__qk_norm": "true"},
}


def parameters(folder):
    with h5py.File(folder / "model.h5", "r") as file:
        return {name: file["parameters"][name][:] for name in file["parameters"]}


def tokens(folder, side):
    with h5py.File(folder / "model.h5", "r") as file:
        return [word.decode() for word in file["vocabulary"][side][:]]


class ExportCtranslate2(th_run.ProgramTest):
    def train_a_little(self, **keys):
        self.train(
            train__max_steps=12,
            data__batch_size=40,
            data__valid_source="",
            data__valid_target="",
            **keys,
        )

    def export(self, *words, code=0, output="ct2"):
        return self.program(
            *("th_inspect", "export", "out", "--format", "ctranslate2", "--output", output),
            *words,
            code=code,
        )

    def read(self, folder="ct2"):
        specification, revision, variables, aliases = ct2_file.read(
            self.folder / folder / "model.bin"
        )
        self.assertEqual((specification, revision), ("TransformerSpec", 7))
        return variables, aliases

    def test_every_variable_is_the_checkpoints(self):
        self.train_a_little(model__num_decoder_layers=2)
        self.export()
        variables, aliases = self.read()
        p = parameters(self.latest())
        self.assertEqual(list(variables), sorted(variables))
        # Sinusoids of both sides are one table.
        positions = "position_encodings/encodings"
        self.assertEqual(aliases, {f"encoder/{positions}": f"decoder/{positions}"})
        d = 64
        for ours, theirs in (
            ("encoder.layers.0.self_attn", "encoder/layer_0/self_attention"),
            ("decoder.layers.1.self_attn", "decoder/layer_1/self_attention"),
        ):
            numpy.testing.assert_array_equal(
                variables[f"{theirs}/linear_0/weight"], p[f"{ours}.in_proj_weight"]
            )
            numpy.testing.assert_array_equal(
                variables[f"{theirs}/linear_1/bias"], p[f"{ours}.out_proj.bias"]
            )
        cross, ours = "decoder/layer_1/attention", "decoder.layers.1.multihead_attn"
        for name, rows in (("linear_0", slice(0, d)), ("linear_1", slice(d, 3 * d))):
            for part, tensor in (("weight", "in_proj_weight"), ("bias", "in_proj_bias")):
                numpy.testing.assert_array_equal(
                    variables[f"{cross}/{name}/{part}"], p[f"{ours}.{tensor}"][rows]
                )
        for theirs, ours in (
            ("decoder/layer_1/ffn/linear_1/weight", "decoder.layers.1.linear2.weight"),
            ("decoder/layer_1/attention/layer_norm/gamma", "decoder.layers.1.norm2.weight"),
            ("decoder/layer_1/ffn/layer_norm/beta", "decoder.layers.1.norm3.bias"),
            ("encoder/layer_norm/gamma", "encoder.norm.weight"),
            ("encoder/embeddings_0/weight", "source_embedding.weight"),
            ("decoder/projection/weight", "output_projection.weight"),
            ("decoder/projection/bias", "output_projection.bias"),
        ):
            numpy.testing.assert_array_equal(variables[theirs], p[ours], theirs)
        table = variables[f"decoder/{positions}"]
        angles = numpy.arange(2048)[:, None] / 10000.0 ** (numpy.arange(0, d, 2) / d)
        numpy.testing.assert_allclose(table[:2048, 0::2], numpy.sin(angles), atol=1e-6)
        numpy.testing.assert_allclose(table[:2048, 1::2], numpy.cos(angles), atol=1e-6)
        for name, number in (
            ("encoder/num_heads", 4),
            ("decoder/pre_norm", 1),
            ("encoder/activation", 0),
            ("decoder/start_from_zero_embedding", 0),
        ):
            self.assertEqual((variables[name].shape, int(variables[name])), ((), number), name)
        # Every parameter of the model is there, in one variable or another.
        arrays = sum(v.size for name, v in variables.items() if v.ndim and positions not in name)
        self.assertEqual(arrays, sum(values.size for values in p.values()))

    def test_configuration_vocabularies_and_types(self):
        self.train_a_little(data__joint_vocabulary="false", model__norm_eps="1e-6")
        self.export()
        folder = self.folder / "ct2"
        for side in ("source", "target"):
            self.assertEqual(
                json.loads((folder / f"{side}_vocabulary.json").read_text()),
                tokens(self.latest(), side),
            )
        seen = json.loads((folder / "config.json").read_text())
        self.assertEqual(seen["layer_norm_epsilon"], 1e-6)
        self.assertEqual(
            (seen["add_source_eos"], seen["add_source_bos"], seen["decoder_start_token"]),
            (True, False, "<s>"),
        )
        whole, _ = self.read()
        for kind, dtype in (("fp16", "<f2"), ("bf16", "<u2")):
            self.export("--dtype", kind, output=kind)
            short, _ = self.read(kind)
            for name, values in whole.items():
                if values.ndim == 0:
                    self.assertEqual(short[name], values)
                    continue
                self.assertEqual(short[name].dtype, numpy.dtype(dtype), name)
                bits = short[name].astype("u4") << 16 if kind == "bf16" else short[name]
                wide = bits.view("f4") if kind == "bf16" else bits.astype("f4")
                numpy.testing.assert_allclose(wide, values, rtol=1 / 256, atol=1e-6)

    def test_an_output_that_is_there_and_words_that_contradict(self):
        self.train_a_little()
        self.export()
        self.assert_one_message(self.export(code=2), "ct2 is already there")
        self.export("--force")
        (self.folder / "ct2" / "notes.txt").write_text("mine")
        self.assert_one_message(self.export("--force", code=2), "holds other things")
        self.assertEqual((self.folder / "ct2" / "notes.txt").read_text(), "mine")
        self.assert_one_message(self.export("--states", output="b", code=2), "--states contradicts")
        self.assertFalse((self.folder / "b").exists())

    def test_options_that_it_has_not_are_refused_by_name(self):
        for named, keys in REFUSED.items():
            self.train_a_little(**keys, run__output_dir="out")
            self.assert_one_message(self.export(code=2), "can't be exported", named)
            self.assertFalse((self.folder / "ct2").exists())

    def ours(self, *words):
        given = ("out", "--threads", 1, "--input", "valid.en")
        return self.program("th_translate", *given, *words).out.splitlines()

    def test_ctranslate2_says_what_th_translate_says(self):
        python = ct2_file.python_with_ctranslate2()
        if python is None:
            self.skipTest("no Python here can 'import ctranslate2' (TH_CTRANSLATE2_PYTHON)")
        longest = 20
        words = [
            [line.split() for line in (self.folder / name).read_text().splitlines()]
            for name in ("valid.en", "valid.fr")
        ]
        for name, keys in MODELS.items():
            self.train_a_little(**keys, decode__max_length=longest)
            self.export("--force")
            theirs = ct2_file.answers(python, self.folder / "ct2", *words, longest)
            scored = self.ours("--score", "--target", "valid.fr")
            sums = [float(line.split("\t")[0]) for line in scored]
            apart = max(abs(a - b) for a, b in zip(sums, theirs["scores"]))
            self.assertLess(apart, 1e-4, name)
            for beam in ct2_file.BEAMS:
                found = self.ours("--beam", beam, "--length-penalty", 0)
                # At the longest length we count the end, CTranslate2 does not: beams differ there.
                other = [
                    (a, b)
                    for a, b in zip(found, (" ".join(one) for one in theirs[str(beam)]))
                    if a != b and (beam == 1 or max(len(a.split()), len(b.split())) < longest)
                ]
                self.assertLessEqual(len(other), 1, f"{name}, beam {beam}: {other}")


if __name__ == "__main__":
    th_run.main()
