#!/usr/bin/env python3
"""th_inspect import --from marian: log p and translations are Marian's, what is not covered is
refused, and a run goes on from what came in."""

import json

import th_run

th_run.use_python_with("h5py", "numpy", "safetensors.numpy")
import h5py  # noqa: E402
import marian_oracle  # noqa: E402
import numpy  # noqa: E402
import safetensors.numpy  # noqa: E402
import spm_file  # noqa: E402

WORDS = ["one", "two", "twelve", "12", "no", "yes", "~", "it's", 'a"b', "c:d", "#", "ünï", "null"]
TARGET_WORDS = ["un", "deux", "douze", "quatre", "non", "l'", "midi"]
PAIRS = [
    ("one two 12", "un deux douze"),
    ("no yes ~ it's", "non"),
    ('a"b c:d # ünï null zebra', "l' midi zebra deux un"),
    ("twelve", "quatre quatre midi midi un"),
]
# Marian's options of a model: norms behind and before, tied and not, all norms that there are.
POST = {}
PRE = {
    "transformer_preprocess": "n",
    "transformer_postprocess": "da",
    "transformer_postprocess_top": "n",
    "transformer_ffn_activation": "relu",
    "tied_embeddings": True,
}
ALL = {
    "transformer_postprocess_emb": "nd",
    "transformer_postprocess_top": "n",
    "tied_embeddings_all": True,
    "dec_depth": 1,
}
SOURCE_TIED = {"tied_embeddings_src": True, "output_omit_bias": True, "transformer_heads": 2}


def quoted(word):
    """As yaml-cpp writes a word: quoted where it has signs of YAML."""
    plain = word.replace("'", "").isalnum()
    return word if plain else '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def yaml_of(words):
    lines = ["</s>: 0", "<unk>: 1"]
    return "\n".join(lines + [f"{quoted(word)}: {at + 2}" for at, word in enumerate(words)]) + "\n"


def ids_of(words):
    return lambda line: [words.index(word) + 2 if word in words else 1 for word in line.split()] + [
        0
    ]


class ImportMarian(th_run.ProgramTest):
    def setUp(self):
        super().setUp()
        self.write("source.txt", "".join(source + "\n" for source, _ in PAIRS))
        self.write("target.txt", "".join(target + "\n" for _, target in PAIRS))
        self.write("source.yml", yaml_of(WORDS))
        self.write("target.yml", yaml_of(TARGET_WORDS))

    def write(self, name, content):
        (self.folder / name).write_text(content, encoding="utf-8")

    def bring(self, model, source="source.yml", target="target.yml", *words, code=0):
        return self.program(
            "th_inspect",
            *("import", model, "--from", "marian", "--output", "in", "--force"),
            *("--vocabulary-source", source, "--vocabulary-target", target, *words),
            code=code,
        )

    def scores(self, checkpoint="in", source="source.txt", target="target.txt"):
        out = self.program(
            "th_translate",
            checkpoint,
            "--threads",
            1,
            "--score",
            "--input",
            source,
            "--target",
            target,
        ).out
        return [float(line.split("\t")[0]) for line in out.splitlines()]

    def assert_scores(self, seen, expected, within=1e-4):
        self.assertEqual(len(seen), len(expected))
        apart = max(abs(a - b) for a, b in zip(seen, expected))
        self.assertLess(apart, within, f"{seen}\n{expected}")

    def words_model(self, joint=False, **options):
        size = len(WORDS) + 2
        return marian_oracle.Marian(size, size if joint else len(TARGET_WORDS) + 2, **options)

    def test_log_p_and_translations_are_marians(self):
        for joint, options in ((False, POST), (False, PRE), (True, ALL), (True, SOURCE_TIED)):
            model = self.words_model(joint, old_output=options is POST, **options)
            model.save(self.folder / "m.npz", compressed=options is PRE)
            target = "source.yml" if joint else "target.yml"
            self.bring("m.npz", "source.yml", target)
            self.program("th_inspect", "verify", "in")
            source_ids, target_ids = ids_of(WORDS), ids_of(WORDS if joint else TARGET_WORDS)
            pairs = [(source_ids(a), target_ids(b)) for a, b in PAIRS]
            self.assert_scores(self.scores(), [model.score(a, b) for a, b in pairs])
            lines = self.program(
                "th_translate", "in", "--threads", 1, "--input", "source.txt", "--max-length", 8
            ).out.splitlines()
            words = ["</s>", "<unk>", *(WORDS if joint else TARGET_WORDS)]
            self.assertEqual(
                lines,
                [" ".join(words[i] for i in model.translate(a, 8)) for a, _ in pairs],
                options,
            )

    def test_a_sentencepiece_model_of_marian(self):
        special = [("</s>", 0.0, spm_file.CONTROL), ("<unk>", 0.0, spm_file.UNKNOWN)]
        (self.folder / "j.spm").write_bytes(
            spm_file.model(special + spm_file.word_pieces(WORDS + TARGET_WORDS))
        )
        size = len(WORDS) + len(TARGET_WORDS) + 2
        model = marian_oracle.Marian(size, size, tied_embeddings_all=True)
        model.save(self.folder / "m.npz")
        self.bring("m.npz", "j.spm", "j.spm")
        ids = ids_of(WORDS + TARGET_WORDS)
        self.assert_scores(self.scores(), [model.score(ids(a), ids(b)) for a, b in PAIRS])
        shown = self.program("th_inspect", "show", "in", "vocabulary/target[0:6]").out
        self.assertEqual(shown, "<pad>\n<unk>\n<s>\n</s>\n\u2581one\n\u2581two\n")

    def test_a_model_that_marian_trained(self):
        data = th_run.SOURCE / "tests" / "data" / "marian"
        self.bring(data / "model.npz", data / "joint.spm", data / "joint.spm")
        expected = [
            float(line.split()[0]) for line in (data / "scores.txt").read_text().splitlines()
        ]
        self.assert_scores(self.scores("in", data / "pairs.en", data / "pairs.fr"), expected)

    def test_models_of_the_shared_folder(self):
        shared = marian_oracle.shared_folder(th_run.SOURCE)
        if shared is None:
            self.skipTest("there is no folder shared/marian beside the sources")
        joint = shared / "joint.spm"
        for name, source, target in (
            ("A_postnorm_yml", "v.en.yml", "v.fr.yml"),
            ("B_prenorm_spm", joint, joint),
            ("C_postnorm_tied_spm", joint, joint),
        ):
            folder = shared / name
            self.bring(folder / "model.npz", folder / source, folder / target)
            expected = [
                float(line.split()[0]) for line in (folder / "scores.txt").read_text().splitlines()
            ]
            self.assert_scores(
                self.scores("in", shared / "pairs.en", shared / "pairs.fr"), expected
            )

    def test_what_is_not_covered_is_refused_by_name(self):
        for option, value in (
            ("transformer_decoder_autoreg", "rnn"),
            ("transformer_ffn_activation", "gelu"),
            ("transformer_ffn_depth", 3),
            ("transformer_no_projection", True),
            ("transformer_train_position_embeddings", True),
            ("transformer_postprocess", "dhn"),
            ("transformer_postprocess_emb", "r"),
            ("transformer_attention_mask", "alibi"),
            ("right_left", True),
            ("type", "s2s"),
        ):
            model = self.words_model(dec_depth=1, enc_depth=1)
            model.options[option.replace("_", "-")] = value
            model.save(self.folder / "m.npz")
            result = self.bring("m.npz", code=2)
            self.assert_one_message(result, option.replace("_", "-") + " = .* is not covered")
        model = self.words_model()
        model.arrays["decoder_l1_gate_W"] = model.matrix(2, 2)
        model.save(self.folder / "m.npz")
        self.assert_one_message(self.bring("m.npz", code=2), "decoder_l1_gate_W.*not covered")
        self.assert_one_message(
            self.bring("m.npz", "a.fsv", "a.fsv", code=2), "a.fsv.*factors.*not covered"
        )
        self.assert_one_message(self.bring("m.npz", "", "", code=2), "needs --vocabulary-source")
        self.assert_one_message(
            self.program(
                "th_inspect", "import", "m.npz", "--from", "fairseq", "--output", "in", code=2
            ),
            "--from fairseq is unknown",
        )

    def test_files_that_are_not_sound(self):
        model = self.words_model()
        model.save(self.folder / "m.npz")
        whole = (self.folder / "m.npz").read_bytes()
        middle = len(whole) // 2
        for content, message in (
            (whole[:-30], "no npz file, or damaged"),
            (whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], "checksum"),
            (b"", "no npz file, or damaged"),
        ):
            (self.folder / "bad.npz").write_bytes(content)
            self.assert_one_message(self.bring("bad.npz", code=5), message)
            self.assertFalse((self.folder / "in").exists())
        del model.arrays["encoder_l2_ffn_W1"]
        model.save(self.folder / "bad.npz")
        self.assert_one_message(self.bring("bad.npz", code=5), "has no encoder_l2_ffn_W1")
        self.write("short.yml", yaml_of(WORDS[:-1]))
        self.assert_one_message(self.bring("m.npz", "short.yml", code=3), "no token has the id 14")
        self.write("twice.yml", yaml_of(WORDS) + "again: 3\n")
        self.assert_one_message(self.bring("m.npz", "twice.yml", code=3), "both have the id 3")

    def fine_tune(self, steps, **keys):
        return self.train(
            ranks=2,
            zero__stage=2,
            train__max_steps=steps,
            train__label_smoothing=0.1,
            optimizer__lr=0.2,
            data__valid_source="",
            data__valid_target="",
            **keys,
        )

    def test_a_run_goes_on_from_it_and_out_again(self):
        data = th_run.SOURCE / "tests" / "data" / "marian"
        keys = json.loads(
            self.bring(data / "model.npz", data / "joint.spm", data / "joint.spm", "--json").out
        )["keys"]
        keys = {key.replace(".", "__"): value for key, value in keys.items()}
        start = {"checkpoint__init_from": "in", "data__tokenizer": "unigram", **keys}
        result = self.fine_tune(4, **start)
        self.assert_one_message(result, "Parameters from .*/in, a fresh optimizer")
        losses = [float(step["loss"]) for step in self.metrics("out", "step")]
        self.assertLess(max(losses), 2.0, "a trained model begins with a small loss")
        self.fine_tune(8, **start, checkpoint__resume="latest")
        self.assertEqual(len(self.metrics("out", "step")), 8)
        with h5py.File(self.latest() / "model.h5", "r") as file:
            bias = file["parameters/output_projection.bias"][:]
        self.assertTrue(numpy.isfinite(bias).all())
        self.assertLess(bias[[0, 2]].max(), -90, "padding and begin stay out of the softmax")
        for words in (("--format", "ctranslate2"), ("--format", "safetensors")):
            self.program("th_inspect", "export", "out", "--output", f"out.{words[1]}", *words)
        tensors = safetensors.numpy.load_file(self.folder / "out.safetensors")
        self.assertEqual(tensors["output_projection.bias"].tobytes(), bias.tobytes())
        self.program("th_inspect", "import", "out.safetensors", "--output", "again")
        pairs = (data / "pairs.en", data / "pairs.fr")
        self.assertEqual(self.scores("again", *pairs), self.scores("out", *pairs))
        own = [float(line.split()[0]) for line in (data / "scores.txt").read_text().splitlines()]
        self.assertNotEqual(self.scores("out", *pairs), own, "it has learned something")


if __name__ == "__main__":
    th_run.main()
