#!/usr/bin/env python3
"""Local attention, positions and thinned encoder states in whole runs: resume at another rank
count, the ratio of cross attention in the checkpoint, fine-tuning and translation."""

import json

import th_run

th_run.use_python_with("h5py")
import h5py  # noqa: E402

KINDS = {
    "model__encoder_attention": "local",
    "model__decoder_attention": "local",
    "model__cross_attention": "local",
    "model__attention_window": 3,
    "model__cross_downsample": 2,
    "model__position": "rope",
}


def ratio(folder):
    with h5py.File(folder / "model.h5", "r") as file:
        return json.loads(file.attrs["state"]).get("source_per_target", 0)


def words(path):
    """Ids of the lines of a file, the end counted, and lines."""
    lines = path.read_text().splitlines()
    return sum(len(line.split()) + 1 for line in lines)


class AttentionKinds(th_run.ProgramTest):
    def corpus_ratio(self):
        exact = words(self.folder / "train.en") / words(self.folder / "train.fr")
        return round(exact * 2**20) / 2**20

    def test_a_resume_at_another_rank_count_and_stage_goes_on_with_the_same_bits(self):
        self.train(ranks=1, train__max_steps=6, run__output_dir="whole", **KINDS)
        self.train(ranks=2, train__max_steps=3, zero__stage=3, **KINDS)
        self.train(ranks=3, train__max_steps=6, zero__stage=1, checkpoint__resume="latest", **KINDS)
        losses = [
            [record["loss"] for record in self.metrics(run, "step")] for run in ("whole", "out")
        ]
        self.assertEqual(len(losses[0]), 6)
        self.assertEqual(losses[0], losses[1])

    def test_the_ratio_is_the_corpus_s_and_stays_with_the_model(self):
        self.train(train__max_steps=2, data__min_freq=1, **KINDS)
        first = self.latest()
        self.assertEqual(ratio(first), self.corpus_ratio())
        # Each source line twice: the same vocabulary, another ratio. Fine-tuning keeps what the
        # model was trained with.
        path = self.folder / "train.en"
        path.write_text("".join(f"{line} {line}\n" for line in path.read_text().splitlines()))
        self.assertNotEqual(self.corpus_ratio(), ratio(first))
        self.train(
            train__max_steps=1,
            checkpoint__init_from=first,
            run__output_dir="tuned",
            data__min_freq=1,
            **KINDS,
        )
        self.assertEqual(ratio(self.latest("tuned")), ratio(first))

    def test_a_model_without_local_cross_attention_keeps_no_ratio(self):
        self.train(train__max_steps=1)
        self.assertEqual(ratio(self.latest()), 0)

    def test_an_import_keeps_the_ratio_of_the_checkpoint_that_it_is_like(self):
        self.train(train__max_steps=2, **KINDS)
        self.program("th_inspect", "export", "out", "--output", "w.safetensors")
        data = (self.folder / "w.safetensors").read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header["__metadata__"] = {"format": "pt"}  # as a file of another program
        text = json.dumps(header).encode()
        (self.folder / "foreign.safetensors").write_bytes(
            len(text).to_bytes(8, "little") + text + data[8 + length :]
        )
        with h5py.File(self.latest() / "model.h5", "r") as file:
            for side in ("source", "target"):
                (self.folder / side).write_bytes(b"\n".join(file["vocabulary"][side][:]) + b"\n")
        given = ("--deck", "out/resolved.in")
        for side in ("source", "target"):
            given += (f"--vocabulary-{side}", side)
        score = ("--score", "--input", "valid.en", "--target", "valid.fr")
        expected = self.program("th_translate", "out", *score).out
        for output, file, words in (
            ("own", "w", ()),
            ("like", "foreign", ("--like", "out")),
            ("none", "foreign", given),
        ):
            self.program("th_inspect", "import", f"{file}.safetensors", *words, "--output", output)
            result = self.program("th_translate", output, *score)
            if output == "none":
                self.assertEqual(ratio(self.folder / output), 0)
                self.assert_one_message(result, "warning: none does not say how many source ids")
                self.assertNotEqual(result.out, expected)
            else:
                self.assertEqual(ratio(self.folder / output), ratio(self.latest()))
                self.assertEqual((result.out, result.err), (expected, ""))

    def test_translations_may_be_longer_than_any_sentence_of_the_training_data(self):
        self.train(train__max_steps=2, data__max_length=12, decode__max_length=8, **KINDS)
        lines = (self.folder / "valid.en").read_text().splitlines()[:3]
        done = self.program(
            "th_translate",
            self.latest(),
            "--max-length",
            60,
            "--beam",
            2,
            text="".join(line + "\n" for line in lines),
        )
        self.assertEqual(len(done.out.splitlines()), len(lines))

    def test_the_selfcheck_finds_the_same_bits(self):
        self.program("th_app", th_run.DECK, *self.overrides(KINDS), "--selfcheck", ranks=2)


if __name__ == "__main__":
    th_run.main()
