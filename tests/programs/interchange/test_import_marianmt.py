#!/usr/bin/env python3
"""th_inspect import --from huggingface-marian: log p and translations of a MarianMT model are those
that transformers computes, vocab.json gives the ids, and what is not covered is refused."""

import json
import shutil

import th_run

th_run.use_python_with("h5py", "numpy", "safetensors.numpy")
import marian_oracle  # noqa: E402
import marianmt_oracle  # noqa: E402
import numpy  # noqa: E402
import spm_file  # noqa: E402

SOURCE = ["one", "two", "three", "rare", "both"]
TARGET = ["un", "deux", "both", "trois"]
# vocab.json has another order than either model, lacks 'rare', and has a mark that neither has.
VOCABULARY = ["</s>", "<unk>", "\u2581trois", "\u2581one", ">>fr<<", "\u2581both", "\u2581two"]
VOCABULARY += ["\u2581un", "\u2581three", "\u2581deux", "<pad>"]
PAIRS = [
    ("one two three", "un deux trois"),
    (">>fr<< both one", "both un"),
    ("two rare two", "trois trois zebra deux"),
]
SPECIAL = [
    ("<unk>", 0.0, spm_file.UNKNOWN),
    ("<s>", 0.0, spm_file.CONTROL),
    ("</s>", 0.0, spm_file.CONTROL),
]


def ids_of(line):
    """As MarianTokenizer: a mark of the language, then pieces, each looked up in vocab.json."""
    pieces = [word if word.startswith(">>") else "\u2581" + word for word in line.split()]
    return [VOCABULARY.index(one) if one in VOCABULARY else 1 for one in pieces] + [0]


class ImportMarianmt(th_run.ProgramTest):
    def setUp(self):
        super().setUp()
        self.home = self.folder / "mt"
        self.home.mkdir()
        for side, words in (("source", SOURCE), ("target", TARGET)):
            model = spm_file.model(SPECIAL + spm_file.word_pieces(words))
            (self.home / f"{side}.spm").write_bytes(model)
        ids = {token: at for at, token in enumerate(VOCABULARY)}
        (self.home / "vocab.json").write_text(json.dumps(ids))
        (self.folder / "source.txt").write_text("".join(f"{a}\n" for a, _ in PAIRS))
        (self.folder / "target.txt").write_text("".join(f"{b}\n" for _, b in PAIRS))

    def bring(self, *words, code=0, folder="mt"):
        return self.program(
            *("th_inspect", "import", folder, "--from", "huggingface-marian"),
            *("--output", "in", "--force", *words),
            code=code,
        )

    def scores(self, source="source.txt", target="target.txt"):
        out = self.program(
            "th_translate", "in", "--threads", 1, "--score", "--input", source, "--target", target
        ).out
        return [float(line.split("\t")[0]) for line in out.splitlines()]

    def assert_scores(self, seen, expected):
        self.assertEqual(len(seen), len(expected))
        apart = max(abs(a - b) for a, b in zip(seen, expected))
        self.assertLess(apart, 1e-4, f"{seen}\n{expected}")

    def test_log_p_and_translations_are_those_of_transformers(self):
        for options in ({}, {"start_row": True, "transformer_ffn_activation": "relu"}):
            model = marianmt_oracle.Marianmt(len(VOCABULARY), **options)
            activation = model.options["transformer-ffn-activation"]
            model.write(self.home, activation_function=activation)
            keys = json.loads(self.bring("--json").out)["keys"]
            self.assertEqual(keys["model.start"], "symbol" if options else "zero")
            self.program("th_inspect", "verify", "in")
            pairs = [(ids_of(a), ids_of(b)) for a, b in PAIRS]
            self.assert_scores(self.scores(), [model.score(a, b) for a, b in pairs])
            lines = self.program(
                "th_translate", "in", "--threads", 1, "--input", "source.txt", "--max-length", 6
            ).out.splitlines()
            self.assertEqual(len(lines), len(pairs))
            for line, (source, _) in zip(lines, pairs):
                expected = model.translate(source, 6)
                if model.pad in expected or 1 in expected:
                    continue  # transformers forbids padding too; <unk> is spelled in many ways
                words = "".join(VOCABULARY[i] for i in expected).replace("\u2581", " ")
                self.assertEqual(line, words.strip())

    def test_positions_in_the_file_are_looked_at(self):
        model = marianmt_oracle.Marianmt(len(VOCABULARY))
        places = numpy.arange(32)[:, None]
        for frequencies, expected in (
            (model.frequencies(), "standard"),
            (marian_oracle.Marian.frequencies(model), "marian"),
        ):
            angles = places * frequencies
            table = numpy.concatenate([numpy.sin(angles), numpy.cos(angles)], 1).astype("f4")
            names = [f"model.{side}.embed_positions.weight" for side in ("encoder", "decoder")]
            model.write(self.home, {**model.tensors(), **{name: table for name in names}})
            keys = json.loads(self.bring("--json").out)["keys"]
            self.assertEqual(keys["model.position_frequency"], expected)
        model.write(self.home, {**model.tensors(), names[0]: table + 1})
        self.assert_one_message(self.bring(code=2), "embed_positions.*not covered")
        model.write(self.home, {**model.tensors(), names[0]: numpy.zeros((), "f4")})
        self.assert_one_message(self.bring(code=5), r"embed_positions.weight is \[\], its config")

    def test_a_model_of_the_shared_folder(self):
        shared = marian_oracle.shared_folder(th_run.SOURCE)
        if shared is None:
            self.skipTest("there is no folder shared/marian beside the sources")
        for name in ("config.json", "model.safetensors"):
            shutil.copy(shared / "hf_C" / name, self.home / name)
        (self.home / "vocab.json").unlink()
        joint = shared / "joint.spm"
        self.bring("--vocabulary-source", joint, "--vocabulary-target", joint)
        scores = (shared / "hf_C" / "scores_hf_own_positions.txt").read_text().splitlines()
        expected = [float(line.split()[0]) for line in scores]
        self.assert_scores(self.scores(shared / "pairs.en", shared / "pairs.fr"), expected)

    def test_what_is_not_covered_is_refused_by_name(self):
        model = marianmt_oracle.Marianmt(len(VOCABULARY), enc_depth=1, dec_depth=1)
        for name, value in (
            ("model_type", "bart"),
            ("activation_function", "gelu_new"),
            ("scale_embedding", False),
            ("share_encoder_decoder_embeddings", False),
            ("normalize_before", True),
            ("decoder_ffn_dim", 7),
        ):
            model.write(self.home, **{name: value})
            self.assert_one_message(self.bring(code=2), name + " = .* is not covered")
        model.write(self.home, {**model.tensors(), "model.adapter.weight": numpy.zeros(3, "f4")})
        self.assert_one_message(self.bring(code=2), "model.adapter.weight.*not covered")
        tensors = model.tensors()
        del tensors["model.decoder.layers.0.fc1.bias"]
        model.write(self.home, tensors)
        self.assert_one_message(self.bring(code=5), "has no model.decoder.layers.0.fc1.bias")
        (self.home / "model.safetensors").unlink()
        self.assert_one_message(self.bring(code=5), "has no model.safetensors")

    def test_a_run_goes_on_from_two_models_of_one_vocabulary(self):
        marianmt_oracle.Marianmt(len(VOCABULARY)).write(self.home)
        keys = json.loads(self.bring("--json").out)["keys"]
        keys = {key.replace(".", "__"): value for key, value in keys.items()}
        for name, words in (("source.txt", SOURCE), ("target.txt", TARGET)):
            (self.folder / name).write_text(
                "".join(f"{words[i % 4]} {words[i % 3]}\n" for i in range(64))
            )
        self.train(
            **keys,
            data__tokenizer="unigram",
            data__train_source="source.txt",
            data__train_target="target.txt",
            data__valid_source="",
            data__valid_target="",
            data__batch_size=2,
            checkpoint__init_from="in",
            train__max_steps=3,
        )
        for side in ("source", "target"):
            shown = self.program("th_inspect", "show", "out", f"vocabulary/{side}[4:8]").out
            again = self.program("th_inspect", "show", "in", f"vocabulary/{side}[4:8]").out
            self.assertEqual(shown, again)
        self.assertNotEqual(
            self.program("th_inspect", "show", "out", "vocabulary/source_model", "--json").out,
            self.program("th_inspect", "show", "out", "vocabulary/target_model", "--json").out,
        )


if __name__ == "__main__":
    th_run.main()
