#!/usr/bin/env python3
"""th_translate: one line out for each line in, in order."""

import gzip

import th_run


class Translate(th_run.SharedRunTest):
    def train_once(self):
        # Long enough that translations differ from line to line: else the order would show nothing.
        self.train_on_numbers(
            schedule__warmup_steps=100,
            train__max_steps=140,
            data__test_source="valid.en",
            data__test_target="valid.fr",
            decode__max_length=20,
        )

    def setUp(self):
        super().setUp()
        self.source = (self.folder / "valid.en").read_text().splitlines()
        self.expected = (self.folder / "out" / "test.hyp").read_text().splitlines()

    def translate(self, lines, *options):
        result = self.program(
            "th_translate", self.latest(), *options, text="".join(f"{line}\n" for line in lines)
        )
        self.assertTrue(result.out.endswith("\n"))
        return result.out[:-1].split("\n")

    def test_lines_are_those_of_the_runs_own_test_set_in_order(self):
        self.assertGreater(len(set(self.expected)), 10)
        self.assertEqual(self.translate(self.source), self.expected)
        self.assertEqual(self.translate(self.source[::-1]), self.expected[::-1])
        self.assertEqual(
            self.translate(self.source, "--batch", "1"),
            self.expected,
            "a line's translation depends on its neighbours",
        )

    def test_lines_without_words_stay_without_words(self):
        self.train(train__max_steps=2)
        text = "one two\n\n \t \n\u00a0\u3000\nthree\n"
        lines = self.program("th_translate", self.latest(), text=text).out.split("\n")
        self.assertEqual([line == "" for line in lines[:5]], [False, True, True, True, False])
        best = self.program(
            "th_translate", self.latest(), "--beam", 2, "--n-best", 2, text=text
        ).out.splitlines()
        numbers = [line.split("\t")[0] for line in best]
        self.assertEqual(numbers, ["0", "0", "1", "2", "3", "4", "4"])
        self.assertEqual(best[2], "1\t0\t")

    def test_empty_lines_keep_their_place(self):
        lines = ["", self.source[0], "", "", self.source[1], " \t ", self.source[2], ""]
        out = self.translate(lines)
        self.assertEqual(len(out), len(lines))
        self.assertEqual([out[1], out[4], out[6]], self.expected[:3])
        self.assertEqual(
            len({out[0], out[2], out[3], out[5], out[7]}), 1, "lines without a word are alike"
        )

    def test_no_lines_in_none_out(self):
        self.assertEqual(self.program("th_translate", self.latest(), text="").out, "")

    def test_last_line_without_a_newline_counts(self):
        result = self.program("th_translate", self.latest(), text=self.source[0])
        self.assertEqual(result.out, self.expected[0] + "\n")

    def test_unknown_words_and_very_long_lines_give_a_line(self):
        out = self.translate(["zzz qqq éß 漢字", " ".join(["one"] * 500), self.source[0]])
        self.assertEqual(len(out), 3)
        self.assertEqual(out[2], self.expected[0])

    def test_a_source_longer_than_any_of_the_training_is_taken_whole(self):
        """Its 101st word counts, beside short neighbours as alone, and nothing is warned of."""
        text = (self.latest().parents[1] / "resolved.in").read_text()
        self.assertRegex(text, r"\nmax_length = 100 ")
        base = "six blue fish run near".split() * 20
        lines = [" ".join(base + [word, "cats", "eat"]) for word in ("one", "nine")]
        sources = "".join(f"{line}\n" for line in [*lines, self.source[0]])
        (self.folder / "source").write_text(sources)
        (self.folder / "target").write_text("un deux\n" * 3)
        words = ("--score", "--input", "source", "--target", "target")
        result = self.program("th_translate", self.latest(), *words)
        self.assertEqual(result.err, "")
        scores = [float(line.split()[0]) for line in result.out.splitlines()]
        self.assertNotEqual(scores[0], scores[1])
        alone = self.program("th_translate", self.latest(), *words, "--batch", 1)
        for seen, expected in zip(alone.out.splitlines(), scores):
            self.assertAlmostEqual(float(seen.split()[0]), expected, delta=1e-4)
        result = self.program("th_translate", self.latest(), "--input", "source")
        self.assertEqual(result.err, "")
        self.assertEqual(result.out.splitlines()[2], self.expected[0])

    def test_input_file_plain_and_compressed(self):
        with gzip.open(self.folder / "valid.en.gz", "wt") as file:
            file.write("".join(f"{line}\n" for line in self.source))
        for name in ("valid.en", "valid.en.gz"):
            self.assertEqual(
                self.program("th_translate", self.latest(), "--input", name).out.splitlines(),
                self.expected,
                name,
            )
        self.program("th_translate", self.latest(), "--input", "absent.en", code=3)

    def test_runs_folder_means_its_newest_checkpoint(self):
        for path in ("out", "out/checkpoints"):
            self.assertEqual(
                self.program("th_translate", path, text=self.source[0] + "\n").out,
                self.expected[0] + "\n",
            )

    def test_unknown_checkpoint_and_options(self):
        result = self.program("th_translate", "absent", text="one\n", code=5)
        self.assert_one_message(result, "absent")
        self.assertEqual(result.out, "")
        self.assert_one_message(
            self.program("th_translate", self.latest(), "--bogus", text="", code=2), "bogus"
        )
        self.program("th_translate", text="", code=2)
        self.assertIn("--input", self.program("th_translate", "--help", text="").out)

    def test_standard_input_that_is_no_text(self):
        self.assert_one_message(
            self.program("th_translate", self.latest(), text="one\na\0b\n", code=3),
            "standard input:2: a zero byte at byte 2",
        )

    def test_a_missing_shard_is_refused(self):
        (self.latest() / "shard_00001.h5").unlink()
        self.assert_one_message(
            self.program("th_translate", self.latest(), text="one\n", code=5),
            "shard_00001.h5 is missing",
        )


if __name__ == "__main__":
    th_run.main()
