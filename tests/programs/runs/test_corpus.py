#!/usr/bin/env python3
"""th_corpus writes the same files for the same seed, and files that th_app trains on."""

import th_run

PARTS = [
    f"numbers.{part}.{language}" for part in ("train", "valid", "test") for language in ("en", "fr")
]


RECORDS = [
    f"records.{part}.{side}" for part in ("train", "valid", "test") for side in ("source", "target")
]


class Corpus(th_run.ProgramTest):
    def make(self, pairs, seed, output, command="numbers", *more):
        words = ("--pairs", pairs, "--seed", seed, "--output", output, *more)
        self.program("th_corpus", command, *words)
        files = th_run.tree(self.folder / output)
        self.assertEqual(sorted(files), sorted(PARTS if command == "numbers" else RECORDS))
        return files

    def test_same_seed_same_files(self):
        self.assertEqual(self.make(300, 7, "a"), self.make(300, 7, "b"))
        self.assertNotEqual(self.make(300, 8, "c"), self.make(300, 7, "d"))

    def test_records(self):
        one = self.make(300, 7, "a", "records")
        self.assertEqual(one, self.make(300, 7, "b", "records", "--windows", 1))
        four = self.make(300, 7, "c", "records", "--windows", 4)
        self.assertNotEqual(one, self.make(300, 8, "d", "records"))
        for name in RECORDS[:2]:
            self.assertEqual(one[name], four[name], "training does not depend on --windows")
        for files, least, most in ((one, 36, 63), (four, 240, 252)):
            lines = {name: data.decode().splitlines() for name, data in files.items()}
            self.assertEqual([len(lines[name]) for name in RECORDS], [300, 300, 15, 15, 15, 15])
            train = set(lines["records.train.target"])
            for part in ("valid", "test"):
                self.assertFalse(train & set(lines[f"records.{part}.target"]))
                for line in lines[f"records.{part}.source"]:
                    self.assertGreaterEqual(len(line.split()), least)
                    self.assertLessEqual(len(line.split()), most)

    def test_shipped_corpus_comes_again_from_its_command(self):
        shipped = {name: (th_run.SOURCE / "inputs" / "data" / name).read_bytes() for name in PARTS}
        self.assertEqual(self.make(4000, 1, "shipped"), shipped)

    def test_sizes_and_separation_of_the_parts(self):
        files = self.make(400, 3, "made/below/two/folders")
        lines = {name: data.decode().splitlines() for name, data in files.items()}
        self.assertEqual([len(lines[name]) for name in PARTS], [400, 400, 20, 20, 20, 20])
        self.assertFalse(any(not line.strip() for text in lines.values() for line in text))
        train = set(lines["numbers.train.en"])
        for part in ("valid", "test"):
            self.assertFalse(
                train & set(lines[f"numbers.{part}.en"]),
                f"{part} lines that are in the training text",
            )

    def test_th_app_trains_on_it(self):
        self.make(200, 2, "data")
        self.train(
            train__max_steps=1,
            data__batch_size=4,
            **{
                f"data__{part}_{side}": f"data/numbers.{part}.{language}"
                for part in ("train", "valid")
                for side, language in (("source", "en"), ("target", "fr"))
            },
        )
        self.assertEqual(len(self.metrics(kind="step")), 1)

    def test_wrong_use_is_one_message(self):
        records = ["records", "--pairs", "300", "--seed", "1", "--output", "x"]
        for words, pattern in (
            (["numbers", "--pairs", "ten", "--seed", "1", "--output", "x"], "--pairs ten"),
            (["numbers", "--pairs", "12", "--seed", "1", "--output", "x"], "12"),
            (["numbers", "--pairs", "300", "--output", "x"], "--seed"),
            (["letters"], "letters.*numbers, records, encode or shortlist.*--help"),
            ([], "no command is given"),
            (["numbers", "--force", "--pairs", "300"], "--seed"),
            (["numbers", "--pears", "300"], "--pears"),
            (["numbers", "--pairs"], "--pairs lacks"),
            (["numbers", "--windows", "2"], "--windows"),
            (["records", "--pairs", "300", "--seed", "1", "--windows", "4"], "--output"),
            (records + ["--windows", "9"], "9 windows"),
            (records + ["--windows", "two"], "--windows two"),
        ):
            with self.subTest(words):
                result = self.program("th_corpus", *words, code=2)
                self.assertRegex(result.err, pattern)
                self.assertEqual(len(result.err.splitlines()), 1, result)
                self.assertFalse((self.folder / "x").exists())
        (self.folder / "file").write_text("in the way")
        self.assertIn(
            "file/below",
            self.program(
                "th_corpus",
                "numbers",
                "--pairs",
                100,
                "--seed",
                1,
                "--output",
                "file/below",
                code=3,
            ).err,
        )
        for words in (["--help"], ["encode", "--help"], ["numbers", "--pairs", "--help"]):
            self.assertIn("--pairs", self.program("th_corpus", *words).out)

    def test_what_it_did_not_write_is_not_replaced_without_force(self):
        first = self.make(300, 7, "a")
        self.assertEqual(self.make(300, 7, "a"), first, "the same corpus is there already")
        (self.folder / "a" / "notes").write_text("mine")
        (self.folder / "a" / "numbers.valid.fr").write_text("mine too\n")
        words = ("numbers", "--pairs", 300, "--seed", 7, "--output", "a")
        mine = th_run.tree(self.folder / "a")
        result = self.program("th_corpus", *words, code=2)
        self.assert_one_message(result, "a/numbers.valid.fr: is there", "--force")
        self.assertEqual(len(result.err.splitlines()), 1)
        result = self.program("th_corpus", *words[:3], "--seed", 8, *words[5:], code=2)
        self.assert_one_message(result, "a/numbers.train.en: is there", "--force")
        self.assertEqual(th_run.tree(self.folder / "a"), mine, "nothing was written")
        self.program("th_corpus", *words, "--force")
        self.assertEqual(th_run.tree(self.folder / "a"), {**first, "notes": b"mine"})
        self.program("th_corpus", "records", *words[1:])  # beside it, under other names
        self.assertEqual(len(th_run.tree(self.folder / "a")), 13)

    def test_an_index_takes_no_other_files_place(self):
        deck = ("encode", th_run.DECK, *self.overrides({}))
        path = self.folder / "out.index" / "corpus.index"
        path.parent.mkdir()
        path.write_text("mine")
        result = self.program("th_corpus", *deck, code=2)
        self.assert_one_message(result, "corpus.index: is there and no index", "--force")
        self.assertEqual(path.read_text(), "mine")
        self.program("th_corpus", *deck, "--force")
        path.write_bytes(path.read_bytes()[:-100])  # one that is damaged is an index
        self.program("th_corpus", *deck)
        self.program("th_corpus", *deck, "--verify")


if __name__ == "__main__":
    th_run.main()
