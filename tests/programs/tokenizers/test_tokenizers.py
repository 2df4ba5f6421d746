#!/usr/bin/env python3
"""Subword tokenizers in whole runs: the same model, batches and losses at every rank count, a
resume in the middle of an epoch of drawn segmentations, translations, models of other people,
th_inspect."""

import json
import subprocess

import th_run

PIECES = {
    "bpe": {
        "data__tokenizer": "bpe",
        "data__vocab_size": 420,
        "data__subword_sampling": 0.1,
        "data__joint_vocabulary": "true",
    },
    "unigram": {
        "data__tokenizer": "unigram",
        "data__vocab_size": 310,
        "data__subword_sampling": 0.3,
        "data__batch_tokens": 400,
    },
}


class Tokenizers(th_run.ProgramTest):
    def overrides(self, keys):
        words = super().overrides(keys)
        if any(word.startswith("data.batch_tokens=") for word in words):
            words = [word for word in words if not word.startswith("data.batch_size=")]
        return words

    def show(self, run, name):
        return self.program("th_inspect", "show", self.latest(run), name, "--json").out

    def vocabulary(self, run):
        names = ("source", "target", "source_model", "target_model")
        return [self.show(run, f"vocabulary/{name}") for name in names]

    def model_file(self, run, name="spm.model"):
        """The source tokenizer's model of a run, as a file."""
        command = self.command(
            "th_inspect", ("show", self.latest(run), "vocabulary/source_model"), 0
        )
        done = subprocess.run(command, env=self.environment, capture_output=True, check=True)
        (self.folder / name).write_bytes(done.stdout)
        return name

    def one_rank(self, kind):
        """The folder of a run of one rank, which two tests compare with."""
        self.train_once_for_all(f"{kind}1", train__max_steps=10, **PIECES[kind])
        return f"{kind}1"

    def test_every_rank_count_has_the_same_model_and_losses(self):
        for kind, more in (("bpe", (3, 8)), ("unigram", (2, 8))):
            keys = PIECES[kind]
            one = self.vocabulary(self.one_rank(kind))
            self.assertEqual(len(json.loads(one[0])), keys["data__vocab_size"])
            self.assertEqual(one[0] == one[1], kind == "bpe")
            self.assertEqual(one[2] == one[3], kind == "bpe")
            for ranks in more if th_run.LONG else more[:1]:
                self.train(ranks, train__max_steps=10, run__output_dir=f"{kind}{ranks}", **keys)
                self.assert_same_run(f"{kind}{ranks}", f"{kind}1")
                self.assert_same_checkpoint(f"{kind}{ranks}", f"{kind}1")

    def test_segmentations_are_others_in_every_epoch(self):
        for kind, keys in PIECES.items():
            self.train(train__epochs=3, run__output_dir=kind, **keys)
            tokens = {}
            for record in self.metrics(kind, "step"):
                tokens.setdefault(record["epoch"], []).append(int(record["target_tokens"]))
            sums = {epoch: sum(counts) for epoch, counts in tokens.items()}
            self.assertEqual(len(set(sums.values())), 3, f"{kind}: ids an epoch {sums}")
            plain = {**keys, "data__subword_sampling": 0}
            self.train(train__epochs=2, run__output_dir=f"{kind}_plain", **plain)
            counts = [int(r["target_tokens"]) for r in self.metrics(f"{kind}_plain", "step")]
            self.assertLess(sum(counts), 2 * min(sums.values()))

    def test_a_resume_within_an_epoch_is_bit_exact(self):
        for kind, keys in PIECES.items():
            whole = self.one_rank(kind)
            part = {**keys, "run__output_dir": f"{kind}_parts"}
            self.train(2, train__max_steps=4, **part)
            self.train(0, train__max_steps=10, checkpoint__resume="latest", **part)
            self.assert_same_run(f"{kind}_parts", whole)
            self.assert_same_checkpoint(f"{kind}_parts", whole)
        other = {**part, "data__subword_sampling": 0.2}
        result = self.train(train__max_steps=12, checkpoint__resume="latest", code=2, **other)
        self.assert_one_message(result, "data.subword_sampling: the checkpoint has ")

    def test_translations_are_text(self):
        for name in ("valid.en", "valid.fr"):
            lines = (self.folder / name).read_text().splitlines(keepends=True)
            (self.folder / name.replace("valid", "test")).write_text("".join(lines[:12]))
        for ranks, (kind, keys) in zip((2, 0), PIECES.items()):
            self.train(
                ranks,
                train__max_steps=6,
                run__output_dir=kind,
                data__test_source="test.en",
                data__test_target="test.fr",
                decode__beam=2,
                **keys,
            )
            hypotheses = (self.folder / kind / "test.hyp").read_text()
            self.assertEqual(hypotheses.count("\n"), 12)
            translated = self.program(
                "th_translate", kind, "--input", "test.en", "--beam", 2
            ).out
            self.assertEqual(translated, hypotheses)
            for sign in ("\u2581", "<s>", "<pad>", "<0x"):
                self.assertNotIn(sign, translated)
            # Characters that no training line has.
            text = "twenty 😀 Ωmega\n\ufdfa\ufdfa\ufdfa\ufdfa\n\n<2de>\n"
            self.assertEqual(self.program("th_translate", kind, text=text).out.count("\n"), 4)
            scores = self.program(
                "th_translate", kind, "--score", "--input", "test.en", "--target", "test.fr"
            ).out.splitlines()
            self.assertEqual(len(scores), 12)

    def test_symbols_bytes_and_normalization_of_the_deck(self):
        self.train(
            train__max_steps=1,
            data__tokenizer="bpe",
            data__user_symbols="<2de>,<2fr>",
            data__byte_fallback="false",
            data__normalization="nmt_nfkc_cf",
            data__vocab_size=150,
        )
        tokens = json.loads(self.show("out", "vocabulary/source"))
        self.assertEqual(tokens[:6], ["<pad>", "<unk>", "<s>", "</s>", "<2de>", "<2fr>"])
        self.assertFalse([token for token in tokens if token.startswith("<0x")])
        self.assertFalse([token for token in tokens if token != token.lower()])

    def test_a_users_model_takes_the_place_of_the_text(self):
        keys = {"train__max_steps": 2, "data__tokenizer": "bpe"}
        self.train(run__output_dir="first", data__vocab_size=400, **keys)
        file = self.model_file("first")
        self.train(2, run__output_dir="second", data__tokenizer_model=file, **keys)
        first, second = self.vocabulary("first"), self.vocabulary("second")
        self.assertEqual([second[0], second[1], second[2]], [first[0], first[0], first[2]])
        self.train(
            run__output_dir="second",
            data__tokenizer_model=file,
            checkpoint__resume="latest",
            **{**keys, "train__max_steps": 3},
        )
        # Another model under the same name is no way to go on.
        self.train(run__output_dir="third", data__vocab_size=380, **keys)
        self.model_file("third")
        result = self.train(
            run__output_dir="second",
            data__tokenizer_model=file,
            checkpoint__resume="latest",
            code=2,
            **{**keys, "train__max_steps": 4},
        )
        self.assert_one_message(result, "data.tokenizer_model holds other tokens")
        unlike = {**keys, "data__tokenizer": "unigram"}
        result = self.train(data__tokenizer_model=file, code=2, **unlike)
        self.assert_one_message(result, "data.tokenizer = unigram", "is a bpe model")
        result = self.train(2, data__tokenizer_model="none", code=3, **keys)
        self.assert_one_message(result, "none: the tokenizer's model can't be read")
        result = self.train(data__tokenizer_model="train.en", code=3, **keys)
        self.assert_one_message(result, "train.en: is no SentencePiece model")

    def test_a_text_too_small_for_the_size_is_told_once(self):
        for kind, ranks in (("bpe", 2), ("unigram", 0)):
            result = self.train(ranks, data__tokenizer=kind, code=3)
            self.assert_one_message(
                result,
                rf"error: .*train.en: gives a {kind} vocabulary of at most \d+ tokens, and "
                r"data.vocab_size = 8000",
            )
            self.assertNotRegex(result.out + result.err, r"\.cc\(|LOG\(|Please set")

    def test_fine_tuning_keeps_the_checkpoints_tokenizer(self):
        self.train(run__output_dir="first", train__max_steps=2, **PIECES["bpe"])
        for language in ("en", "fr"):
            path = self.folder / f"train.{language}"
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(line.upper() for line in lines[:160]))
        keys = {"train__max_steps": 2, "checkpoint__init_from": "first"}
        self.train(2, run__output_dir="tuned", data__subword_sampling=0.1, **keys)
        self.assertEqual(self.vocabulary("tuned"), self.vocabulary("first"))
        self.program("th_translate", "tuned", text="TWENTY\n")
        result = self.train(data__tokenizer="unigram", code=2, **keys)
        self.assert_one_message(result, "data.tokenizer = unigram, and .*first has a bpe tokenizer")
        result = self.train(
            code=5,
            **{**PIECES["bpe"], "data__vocabulary": "text", "data__vocab_size": 390},
            **keys,
        )
        self.assert_one_message(
            result, "vocabulary/source: 420 tokens in the checkpoint, 390 in the corpus"
        )

    def test_inspect_keeps_the_models(self):
        for run, size in (("a", 310), ("b", 310), ("c", 300)):
            self.train(
                run__output_dir=run,
                train__max_steps=2 if run == "a" else 1,
                data__tokenizer="unigram",
                data__vocab_size=size,
            )
        self.program("th_inspect", "average", "a", "b", "--output", "mean")
        self.program("th_inspect", "export", "a", "--output", "a.safetensors")
        self.program("th_inspect", "import", "a.safetensors", "--output", "back")
        text = (self.folder / "valid.en").read_text()
        expected = self.program("th_translate", "a", text=text).out
        self.assertEqual(self.program("th_translate", "back", text=text).out, expected)
        # diff compares vocabularies and models too.
        self.program("th_inspect", "diff", "a", "back", "--parameters-only")
        differ = self.program("th_inspect", "diff", "a", "mean", "--parameters-only", code=1)
        self.assertNotIn("vocabular", differ.out)
        differ = self.program("th_inspect", "diff", "a", "c", "--parameters-only", code=1)
        self.assertIn("vocabulary/source: 310 tokens in A, 300 in B", differ.out)
        self.program("th_inspect", "verify", "a")
        result = self.program("th_inspect", "average", "a", "c", "--output", "no", code=5)
        self.assertIn("vocabulary/source: ", result.err)
        words = self.program("th_inspect", "show", "a", "vocabulary/source[0:5]").out
        self.assertEqual(words, "<pad>\n<unk>\n<s>\n</s>\n<0x00>\n")
        self.program("th_inspect", "show", "a", "vocabulary/sources", code=5)


if __name__ == "__main__":
    th_run.main()
