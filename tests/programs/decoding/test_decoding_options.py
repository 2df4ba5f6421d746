#!/usr/bin/env python3
"""Options of decoding: the same draws at every rank count and stage, in th_app and th_translate, in
any batch and order; rules that a translation keeps; requests that are refused. With --long at
eight ranks, and every value that is out of range."""

import th_run

DRAWN = {
    "decode__sampling": "true",
    "decode__temperature": 1.3,
    "decode__top_k": 40,
    "decode__top_p": 0.95,
}


class DecodingOptions(th_run.SharedRunTest):
    def train_once(self):
        self.train(
            train__max_steps=24,
            schedule__warmup_steps=30,
            data__test_source="valid.en",
            data__test_target="valid.fr",
            decode__max_length=12,
            **DRAWN,
        )

    def setUp(self):
        super().setUp()
        self.expected = (self.folder / "out" / "test.hyp").read_text().splitlines()

    def translate(self, *options, code=0, text=None):
        return self.program("th_translate", self.latest(), *options, code=code, text=text)

    def lines(self, *options):
        return self.translate("--input", "valid.en", *options).out.splitlines()

    def n_best(self, *options):
        """[[(score, text) …] of each source line]."""
        out = [[] for _ in self.expected]
        for line in self.lines(*options):
            number, score, text = line.split("\t")
            out[int(number)].append((float(score), text))
        return out

    def test_draws_are_those_of_the_runs_own_test_set(self):
        self.assertGreater(len(set(self.expected)), 30)
        self.assertEqual(self.lines(), self.expected)
        self.assertEqual(self.lines("--batch", "1"), self.expected)
        self.assertEqual(self.lines("--batch", "7"), self.expected)
        given = ("--no-sampling", "--beam", "1")
        greedy = self.lines(*given)
        self.assertNotEqual(greedy, self.expected)
        self.assertEqual(self.lines("--top-k", "1"), greedy, "the likeliest id alone is drawn")

    def test_a_lines_number_makes_its_draw(self):
        lines = (self.folder / "valid.en").read_text().splitlines()
        (self.folder / "again.en").write_text(f"{lines[5]}\n" * 6)
        again = self.translate("--input", "again.en").out.splitlines()
        self.assertEqual(again[5], self.expected[5])
        self.assertGreater(len(set(again)), 3)
        self.assertNotEqual(self.lines("--seed", "2"), self.expected)
        self.assertEqual(self.lines("--seed", "1"), self.expected)

    def test_n_draws_are_sorted_and_hold_the_one(self):
        drawn = self.n_best("--n-best", "6")
        for one, six in zip(self.expected, drawn):
            self.assertEqual(len(six), 6)
            self.assertIn(one, [text for _, text in six])
            scores = [score for score, _ in six]
            self.assertEqual(scores, sorted(scores, reverse=True))
        (self.folder / "best.fr").write_text("".join(f"{six[0][1]}\n" for six in drawn))
        scored = self.translate("--score", "--input", "valid.en", "--target", "best.fr")
        for six, line in zip(drawn, scored.out.splitlines()):
            self.assertAlmostEqual(six[0][0], float(line.split()[0]), delta=1e-3)

    def test_rules_are_kept(self):
        search = ("--no-sampling", "--beam", "4")
        plain = self.lines(*search)
        words = sorted(
            {word for line in plain + self.expected for word in line.split()} - {"<unk>"}
        )
        common = max(words, key=lambda word: sum(word in line.split() for line in plain))
        for line in self.lines(*search, "--min-length", "9"):
            self.assertGreaterEqual(len(line.split()), 9)
        for kind in (search, ()):
            for line in self.lines(*kind, "--no-repeat-ngram", "2", "--min-length", "6"):
                line = line.split()
                pairs = list(zip(line, line[1:]))
                self.assertEqual(len(pairs), len(set(pairs)), line)
            for line in self.lines(*kind, "--forbid", f"{common},<unk>"):
                self.assertNotIn(common, line.split())
                self.assertNotIn("<unk>", line.split())
            prefixes = ["", f"{words[0]} {words[-1]}", words[1]] + [""] * 37
            (self.folder / "prefixes").write_text("".join(f"{line}\n" for line in prefixes))
            out = self.lines(*kind, "--prefix", "prefixes")
            for prefix, line in zip(prefixes, out):
                self.assertTrue(line.startswith(prefix), line)
            free = plain if kind else self.expected
            self.assertEqual(out[0], free[0], "an empty prefix asks for nothing")
            self.assertEqual(out[3:], free[3:])
        shorter = self.n_best(*search, "--n-best", "4", "--length-normalization", "power")
        for line in self.n_best(*search, "--n-best", "4", "--length-penalty", "0"):
            self.assertEqual(len(line), 4)
        for line in shorter:
            scores = [score for score, _ in line]
            self.assertEqual(scores, sorted(scores, reverse=True))

    def test_fewer_hypotheses_than_asked_for_are_said(self):
        (self.folder / "prefixes").write_text("un\n" * 40)
        result = self.translate(
            "--input", "valid.en", "--no-sampling", "--beam", "3", "--n-best", "3",
            "--max-length", "1", "--prefix", "prefixes",
        )  # fmt: skip
        self.assertEqual(len(result.out.splitlines()), 40)
        self.assert_one_message(result, "40 of 40", "fewer hypotheses", "--n-best 3")

    def test_requests_that_cannot_be_met_are_refused(self):
        (self.folder / "words").write_text("un\n" * 39 + "zzz un\n")
        (self.folder / "long").write_text("un un un\n" + "\n" * 39)
        (self.folder / "few").write_text("un\n")
        ranges = (  # one of each option; the others are of the same ranges
            (("--top-p", "1.01"), "--top-p: '1.01'", "above 0 to 1"),
            (("--temperature", "nan"), "--temperature", "above 0"),
            (("--top-k", "1.5"), "--top-k", "from 0"),
            (("--beam", "0"), "--beam", "from 1"),
            (("--n-best", "99999999999"), "--n-best", "to 1024"),
            (("--min-length", "-3"), "--min-length", "from 0"),
        )
        if th_run.LONG:
            ranges += (
                (("--top-p", "0"), "--top-p: '0'", "above 0 to 1"),
                (("--temperature", "0"), "--temperature", "above 0"),
                (("--temperature", "-1"), "--temperature", "above 0"),
                (("--top-k", "-1"), "--top-k", "from 0"),
                (("--n-best", "0"), "--n-best", "from 1"),
            )
        cases = (
            *ranges,
            (("--min-length", "13"), "--min-length 13", "decode.max_length = 12"),
            (("--min-length", "5", "--max-length", "4"), "--min-length 5", "--max-length 4"),
            (("--no-repeat-ngram", "-1"), "--no-repeat-ngram", "from 0"),
            (("--length-normalization", "mean"), "--length-normalization", "gnmt, power"),
            (("--sampling", "--beam", "4"), "--beam 4", "--sampling", "--n-best"),
            (("--beam", "4"), "--beam 4", "decode.sampling", "--no-sampling"),
            (("--sampling", "--no-sampling"), "--no-sampling", "contradict"),
            (("--no-sampling", "--beam", "2", "--n-best", "3"), "--n-best 3", "raise --beam"),
            (("--forbid", "un,,deux"), "--forbid", "words with commas"),
            (("--forbid", "zzzz"), "--forbid", "zzzz", "outside the target vocabulary"),
            (("--prefix", "words"), "words:40", "the word 'zzz' is outside the target vocabulary"),
            (
                ("--prefix", "long", "--max-length", "2"),
                "long:1: a prefix of 3 ids is longer than the longest translation, 2 ids",
                "raise --max-length",
            ),
            (("--score", "--target", "valid.fr", "--top-k", "2"), "--top-k", "--score"),
        )
        for options, *patterns in cases:
            result = self.translate("--input", "valid.en", *options, code=2)
            self.assert_one_message(result, "^th_translate: ", *patterns)
            self.assertEqual(result.out, "", "it is refused before anything is written")
        result = self.translate("--input", "valid.en", "--prefix", "few", code=3)
        self.assert_one_message(result, "valid.en has 40 lines and few has 1")
        self.assertEqual(result.out, "")
        self.translate("--input", "valid.en", "--prefix", "absent", code=3)

    def test_words_of_a_prefix_are_named_and_lengths_are_those_that_there_are(self):
        line = next(line for line in self.expected if len(set(line.split())) > 2).split()
        word, other = list(dict.fromkeys(line))[:2]
        first = (self.folder / "valid.en").read_text().split("\n")[0]
        (self.folder / "one").write_text(first + "\n")
        for prefix, pattern in (
            (f"{word} yyy {other} zzz yyy", "the words 'yyy', 'zzz' are outside"),
            ("a1 b2 c3 d4 e5", "the words 'a1', 'b2', 'c3' and 2 more are outside"),
            (f"{word} </s> {other}", "the word '</s>' is outside"),
            ("<pad>", "the word '<pad>' is outside"),
        ):
            (self.folder / "prefix").write_text(prefix + "\n")
            result = self.translate("--input", "one", "--prefix", "prefix", code=2)
            self.assert_one_message(result, "prefix:1: the prefix ", pattern)
        search = ("--input", "one", "--prefix", "prefix", "--no-sampling")
        (self.folder / "prefix").write_text(" ".join([word] * 5) + "\n")
        whole = self.translate(*search, "--max-length", "5")
        self.assertEqual(whole.out.split(), [word] * 5, "it is all of the translation")
        piped = self.translate(*search[2:], text=(self.folder / "one").read_text())
        self.assertTrue(piped.out.startswith(" ".join([word] * 5)), piped)
        (self.folder / "prefix").write_text(" ".join([word] * 30) + "\n")
        result = self.translate(*search, code=2)
        self.assert_one_message(result, "30 ids is longer .* translation, 12 ids; raise --max-len")
        self.train(
            run__output_dir="short",
            model__position="learned",
            data__max_length=12,
            decode__max_length=11,
            train__max_steps=2,
        )
        result = self.program("th_translate", self.latest("short"), *search[:4], code=2)
        learned = "the longest translation, 11 ids, for the model learned 12 positions"
        self.assert_one_message(result, "prefix:1: a prefix of 30 ids is longer than", learned)
        self.assertNotIn("raise", result.err)

    def test_options_without_effect_are_named(self):
        for options, name in (
            (("--length-penalty", "0.5"), "--length-penalty"),
            (("--no-sampling", "--top-k", "3"), "--top-k"),
            (("--no-sampling", "--seed", "3"), "--seed"),
            (("--no-sampling", "--length-penalty", "0.5"), "--length-penalty"),
            (("--no-sampling", "--length-normalization", "power"), "--length-normalization"),
            (("--no-sampling", "--beam", "1", "--length-penalty", "2"), "--length-penalty"),
        ):
            result = self.translate("--input", "valid.en", *options)
            self.assert_one_message(result, "warning: ", name, "no effect")
        for options in (
            ("--beam", "2", "--length-penalty", "0.5"),
            ("--n-best", "1", "--length-penalty", "0.5"),  # scores are shown
        ):
            result = self.translate("--input", "valid.en", "--no-sampling", *options)
            self.assertNotIn("warning", result.err)
        result = self.translate(
            "--input", "valid.en", "--no-sampling", "--beam", "2", "--length-penalty", "0",
            "--length-normalization", "power",
        )  # fmt: skip
        self.assert_one_message(result, "warning: --length-normalization has no effect", "is 0")


class Ranks(th_run.ProgramTest):
    def test_draws_are_the_same_at_every_rank_count_and_stage(self):
        seen = {}
        for ranks, stage in ((1, 0), (3, 3), (8, 0))[: None if th_run.LONG else 2]:
            run = f"np{ranks}_stage{stage}"
            self.train(
                ranks=ranks,
                run__output_dir=run,
                zero__stage=stage,
                train__max_steps=2,
                train__micro_batches=8,
                data__test_source="valid.en",
                data__test_target="valid.fr",
                decode__max_length=10,
                **DRAWN,
            )
            seen[run] = (self.folder / run / "test.hyp").read_text()
        self.assertEqual(len(set(seen.values())), 1, seen)
        self.assertGreater(len(set(seen["np1_stage0"].splitlines())), 30)

    def test_a_forbidden_word_outside_the_vocabulary_is_told_before_the_training(self):
        result = self.train(decode__forbidden_words="zzzz", train__max_steps=2, code=2)
        self.assert_one_message(result, "decode.forbidden_words", "zzzz", "vocabulary")
        self.assertFalse((self.folder / "out" / "metrics.jsonl").exists())


if __name__ == "__main__":
    th_run.main()
