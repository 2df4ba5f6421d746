#!/usr/bin/env python3
"""Corpora of several files, tables, packed files, pipes, and the index of th_corpus encode: the
same pairs give the same bits, and what is another text is told."""

import gzip
import os
import threading

import th_run


class Corpora(th_run.ProgramTest):
    def lines(self, name):
        return (self.folder / name).read_text().splitlines(keepends=True)

    def write(self, name, lines):
        (self.folder / name).write_text("".join(lines))
        return name

    def cut_in_two(self):
        """train.en and train.fr as one.en,two.en and one.fr,two.fr: the keys."""
        for side in ("en", "fr"):
            lines = self.lines(f"train.{side}")
            self.write(f"one.{side}", lines[:360])
            self.write(f"two.{side}", lines[360:])
        return {
            "data__train_source": "one.en,two.en",
            "data__train_target": "one.fr,two.fr",
        }

    def test_the_same_pairs_in_other_files_are_the_same_run(self):
        self.train_once_for_all(train__max_steps=7)
        files = self.cut_in_two()
        self.train(ranks=2, train__max_steps=7, run__output_dir="several", **files)
        self.assert_same_run("several", "whole")
        pairs = zip(self.lines("train.en"), self.lines("train.fr"))
        self.write("train.tsv", [f"{source[:-1]}\t{target}" for source, target in pairs])
        pairs = zip(self.lines("valid.en"), self.lines("valid.fr"))
        self.write("valid.tsv", [f"{source[:-1]}\t{target}" for source, target in pairs])
        table = {
            "data__format": "tsv",
            "data__train_source": "train.tsv",
            "data__train_target": "",
            "data__valid_source": "valid.tsv",
            "data__valid_target": "",
        }
        self.train(train__max_steps=7, run__output_dir="table", **table)
        self.assert_same_run("table", "whole")

    def test_a_corpus_renamed_or_packed_goes_on(self):
        self.train_once_for_all(train__max_steps=7)
        self.train(train__max_steps=3)
        for side in ("en", "fr"):
            data = (self.folder / f"train.{side}").read_bytes()
            (self.folder / f"other.{side}.gz").write_bytes(gzip.compress(data))
        packed = {"data__train_source": "other.en.gz", "data__train_target": "other.fr.gz"}
        self.train(train__max_steps=5, checkpoint__resume="latest", **packed)
        self.train(train__max_steps=7, checkpoint__resume="latest", **self.cut_in_two())
        self.assert_same_run("out", "whole")

    def test_a_mixture_is_the_same_at_any_rank_count_and_across_a_resume(self):
        files = {**self.cut_in_two(), "data__train_weights": "1,3"}
        result = self.train(train__max_steps=14, run__output_dir="whole", **files)
        self.assert_one_message(result, "An epoch takes 120 pairs of the 360 of .*one.en")
        self.assert_one_message(result, "An epoch takes 360 pairs of the 120 of .*two.en")
        self.train(ranks=3, train__max_steps=9, **files)
        self.train(train__max_steps=14, checkpoint__resume="latest", **files)
        self.assert_same_run("out", "whole")
        self.train(train__max_steps=3, run__output_dir="plain")
        self.assertNotEqual(self.bits("plain")[0], self.bits("whole")[0][:3])
        for change in ("1,2", ""):
            refused = self.train(
                code=2,
                train__max_steps=15,
                checkpoint__resume="latest",
                **{**files, "data__train_weights": change},
            )
            self.assert_one_message(refused, "data.train_weights: the checkpoint has 1,3, the deck")
        moved = {**files, "data__train_source": "three.en,four.en"}
        moved["data__train_target"] = "three.fr,four.fr"
        for side in ("en", "fr"):
            lines = self.lines(f"train.{side}")
            self.write(f"three.{side}", lines[:200])
            self.write(f"four.{side}", lines[200:])
        refused = self.train(code=2, train__max_steps=15, checkpoint__resume="latest", **moved)
        self.assert_one_message(refused, "error: ", "other lines than when the checkpoint")

    def test_an_index_gives_the_same_bits_and_is_told_when_it_is_stale(self):
        self.train_once_for_all(train__max_steps=7)
        deck = self.overrides({"run__output_dir": "out"})
        idle = "data.byte_fallback=false"
        written = self.program("th_corpus", "encode", th_run.DECK, *deck, idle)
        self.assert_one_message(written, "warning: .*data.byte_fallback has no effect")
        self.assertRegex(written.out, "(?m)^train: 480 pairs; unknown words: ")
        self.assertIn("out.index/corpus.index: written", written.out)
        self.program("th_corpus", "encode", th_run.DECK, *deck, "--verify")
        self.environment["TMPDIR"] = str(self.folder / "none")
        result = self.train(ranks=3, train__max_steps=7)
        self.assert_one_message(result, r"Training text: .*\(from .*out.index/corpus.index\)")
        self.assert_same_run("out", "whole")
        (self.folder / "valid.en").touch()  # the same lines at another time
        self.program("th_corpus", "encode", th_run.DECK, *deck, "--verify")
        self.write("valid.en", self.lines("valid.en")[::-1])
        result = self.train(train__max_steps=1)
        self.assert_one_message(
            result, "warning: ", "is not used for data.valid_source: .*valid.en was changed"
        )
        verified = self.program("th_corpus", "encode", th_run.DECK, *deck, "--verify", code=1)
        self.assertRegex(verified.out, "valid.en, .*valid.fr: stale")
        self.assertNotIn("train.en", verified.out)
        index = self.folder / "out.index" / "corpus.index"
        index.write_bytes(index.read_bytes()[:-100])
        result = self.train(train__max_steps=1)
        self.assert_one_message(result, "warning: ", "corpus.index: .* damaged", "not used")
        self.program("th_corpus", "encode", th_run.DECK, *deck, "--verify", code=3)

    def test_wrong_use_of_encode_is_one_message(self):
        for words, code, pattern in (
            (["encode"], 2, "no deck given"),
            (["encode", "none.in"], 2, "none.in"),
            (["encode", th_run.DECK, "another.in"], 2, "more than one deck"),
            (["encode", th_run.DECK, "--letters"], 2, "--letters"),
            (["encode", th_run.DECK, "data.train_source=none.en"], 3, "none.en: can't be read"),
            (["encode", th_run.DECK, "--verify"], 3, "the corpus index can't be opened"),
        ):
            with self.subTest(words):
                result = self.program("th_corpus", *words, "run.output_dir=x", code=code)
                self.assertRegex(result.err.splitlines()[0], pattern)
                self.assertNotIn("usage", result.err)
                self.assertFalse((self.folder / "x.index" / "corpus.index").exists())

    def test_filters_are_told_for_each_part(self):
        result = self.train(
            train__max_steps=1,
            data__max_source_length=6,
            data__long_lines="drop",
            data__max_ratio=1.5,
            data__batch_size=2,
        )
        for part in ("train", "valid"):
            self.assert_one_message(
                result, "warning: ", f"{part}.en", "more than data.max_source_length = 6"
            )
            self.assert_one_message(result, "warning: ", f"{part}.en", "data.max_ratio = 1.5 times")
        self.assert_one_message(
            result, r"Training text: \d+ pairs of 480 lines, \d+ dropped as too"
        )

    def test_data_that_is_wrong_in_its_own_way(self):
        (self.folder / "mixed.gz").write_bytes(gzip.compress(b"one\n") + b"two\n")
        (self.folder / "old.txt").write_bytes(b"one\rtwo\rthree\r")
        (self.folder / "x.bz2").write_bytes(b"BZh91AY&SY" + bytes(50))
        self.write("three.tsv", ["a\tb\n", "a\tb\tc\n"])
        for name, patterns, keys in (
            ("mixed.gz", ("mixed.gz", "from byte [0-9]+ of the file"), {}),
            ("old.txt", ("old.txt", "CR alone"), {}),
            ("x.bz2", ("x.bz2", "bzip2"), {}),
            ("three.tsv", ("three.tsv:2: 3 columns",), {"data__format": "tsv"}),
        ):
            with self.subTest(name):
                result = self.train(
                    ranks=2 if name == "mixed.gz" else 0,
                    code=3,
                    train__max_steps=1,
                    data__train_source=name,
                    data__train_target="" if keys else name,
                    data__valid_source="",
                    data__valid_target="",
                    **keys,
                )
                self.assert_one_message(result, "error: ", *patterns)
        self.assertFalse((self.folder / "out").exists())


class TestSets(th_run.ProgramTest):
    def setUp(self):
        super().setUp()
        for side in ("en", "fr"):
            lines = (self.folder / f"valid.{side}").read_text().splitlines(keepends=True)
            (self.folder / f"test.{side}").write_text("".join(lines[:12]))
        self.tested = {"data__test_source": "test.en", "data__test_target": "test.fr"}

    def bleu(self, run):
        return [r["value"] for r in self.metrics(run, "eval") if r["metric"] == "bleu"]

    def test_a_pipe_is_read_once(self):
        self.train(train__max_steps=3, run__output_dir="files", **self.tested)
        for side in ("en", "fr"):
            os.mkfifo(self.folder / f"pipe.{side}")

        def feed():
            for side in ("en", "fr"):
                with open(self.folder / f"pipe.{side}", "w", encoding="utf-8") as pipe:
                    pipe.write((self.folder / f"test.{side}").read_text())

        feeder = threading.Thread(target=feed)
        feeder.start()
        pipes = {"data__test_source": "pipe.en", "data__test_target": "pipe.fr"}
        self.train(ranks=2, train__max_steps=3, run__output_dir="pipes", **pipes)
        feeder.join()
        hypotheses = [(self.folder / run / "test.hyp").read_text() for run in ("files", "pipes")]
        self.assertEqual(hypotheses[0], hypotheses[1])
        self.assertEqual(self.bleu("pipes"), self.bleu("files"))

    def test_a_pipe_that_nobody_feeds_ends_in_one_line(self):
        os.mkfifo(self.folder / "pipe.en")
        for part in ("train", "test"):
            keys = {**self.tested, f"data__{part}_source": "pipe.en"}
            ranks = 2 if part == "train" else 0  # ranks that wait are busy
            result = self.train(
                ranks=ranks, code=3, train__max_steps=1, comm__timeout_seconds=4, **keys
            )
            self.assert_one_message(result, "error: ", "pipe.en: is a pipe", "nothing came for 2 s")

    def test_files_that_change_meanwhile_are_told(self):
        process = self.start(ranks=2, train__epochs=3, **self.tested)
        self.wait_for_steps(process, 1)
        lines = (self.folder / "test.fr").read_text().splitlines(keepends=True)
        (self.folder / "test.fr").write_text("".join(lines[::-1][:11]))
        self.assertEqual(process.wait(th_run.LIMIT_S), 0, self.started_log())
        self.assertRegex(self.started_log(), "warning: .*test.fr: changed since the run read it")
        self.assertEqual(len((self.folder / "out" / "test.hyp").read_text().splitlines()), 12)

    def test_blank_lines_keep_their_places(self):
        self.train(train__max_steps=6, run__output_dir="full", **self.tested)
        full = (self.folder / "full" / "test.hyp").read_text().splitlines()
        for side, at in (("en", 3), ("fr", 5)):
            lines = (self.folder / f"test.{side}").read_text().splitlines(keepends=True)
            self.blank(side, lines, at)
        self.train(
            ranks=2,
            train__max_steps=6,
            run__output_dir="gaps",
            data__empty_lines="skip",
            **self.tested,
        )
        gaps = (self.folder / "gaps" / "test.hyp").read_text().splitlines()
        self.assertEqual(len(gaps), 12)
        self.assertEqual((gaps[3], gaps[5]), ("", ""))
        kept = [i for i in range(12) if i not in (3, 5)]
        self.assertEqual([gaps[i] for i in kept], [full[i] for i in kept])

    def blank(self, side, lines, at):
        (self.folder / f"test.{side}").write_text("".join([*lines[:at], "\n", *lines[at + 1 :]]))

    def test_unknown_words_are_counted(self):
        result = self.train(
            train__max_steps=1,
            data__valid_source="valid.fr",
            data__valid_target="valid.en",
            **self.tested,
        )
        self.assert_one_message(result, "Validation text: .* unknown words: ")
        self.assert_one_message(
            result, r"Test text: 12 pairs; unknown words: \d+\.\d\d % of the source"
        )
        self.assert_one_message(
            result, "warning: .*valid.fr, .*valid.en: .* of the words of the source are unknown"
        )


if __name__ == "__main__":
    th_run.main()
