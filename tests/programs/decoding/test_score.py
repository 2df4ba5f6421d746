#!/usr/bin/env python3
"""th_score on the lines of the golden scores (tests/golden/scores), and on bad input."""

import gzip
import json
import re

import th_run

GOLDEN = json.loads((th_run.SOURCE / "tests/golden/scores/golden_scores.json").read_text())
SIGNATURE = r"nrefs:1\|case:mixed\|eff:no\|tok:%s\|smooth:%s\|version:th_app-[\d.]+"


class Score(th_run.ProgramTest):
    def setUp(self):
        super().setUp()
        self.files(GOLDEN["en"]["pairs"] + GOLDEN["zh"]["pairs"])

    def files(self, pairs):
        for place, name in enumerate(("hyp", "ref")):
            text = "".join(pair[place] + "\n" for pair in pairs)
            (self.folder / name).write_text(text, encoding="utf-8")

    def score(self, *words, metric="bleu", code=0):
        return self.program(
            "th_score", "--metric", metric, "--input", "hyp", "--target", "ref", *words, code=code
        )

    def values(self, *words, **keys):
        """{name: value} of the lines that th_score prints."""
        lines = self.score(*words, **keys).out.splitlines()
        found = [re.match(r"(\w[\w+]*)\|(\S+) = ([\d.]+)", line) for line in lines]
        self.assertTrue(all(found), lines)
        return {match[1]: float(match[3]) for match in found}

    def test_example_of_the_docs_and_a_byte_order_mark(self):
        docs = (th_run.SOURCE / "docs" / "scores.md").read_text()
        lines = (th_run.SOURCE / "inputs/data/numbers.test.fr").read_text().splitlines()
        self.files([(line.replace(" et ", " ", 1), line) for line in lines])
        printed = self.score(metric="bleu,chrf,exact").out
        self.assertIn(f"```\n{printed}```", docs)
        (self.folder / "hyp").write_bytes(b"\xef\xbb\xbf" + (self.folder / "hyp").read_bytes())
        self.assertEqual(self.score(metric="bleu,chrf,exact").out, printed)

    def test_bleu_of_each_tokenizer_and_smoothing_is_sacrebleus(self):
        for language in ("de", "zh", "signs", "short", "no_match", "both_empty"):
            self.files(GOLDEN[language]["pairs"])
            for kind, (value, details, _) in GOLDEN[language]["bleu"].items():
                tokenizer, smoothing = kind.split()
                out = self.score("--bleu-tokenizer", tokenizer, "--smoothing", smoothing).out
                smooth = {"floor": r"floor\[0.10\]", "add-k": r"add-k\[1.00\]"}
                signature = SIGNATURE % (tokenizer, smooth.get(smoothing, smoothing))
                match = re.match(rf"BLEU\|{signature} = ([\d.]+) (.*\))", out)
                self.assertTrue(match, out)
                self.assertAlmostEqual(float(match[1]), value, delta=0.00501)
                self.assertEqual(match[2], details)

    def test_chrf_and_rouge(self):
        self.files(GOLDEN["fr"]["pairs"])
        for order, (value, name, _) in enumerate(GOLDEN["fr"]["chrf"]):
            got = self.values("--word-order", order, metric="chrf")
            self.assertAlmostEqual(got[name], value, delta=0.00501)
        for units in ("words", "characters"):
            got = self.values("--rouge-units", units, metric="rouge")
            for name, (_, _, value) in GOLDEN["fr"]["rouge"][units].items():
                self.assertAlmostEqual(got[name], value, delta=5.1e-5)

    def test_sentences_of_a_line_are_parted_by_a_text_of_the_users(self):
        pairs = [[side.replace("\n", "<n>") for side in p] for p in GOLDEN["summaries"]["pairs"]]
        self.files(pairs)
        got = self.values("--sentence-separator", "<n>", metric="rouge")
        for name, (_, _, value) in GOLDEN["summaries"]["rouge"]["words"].items():
            self.assertAlmostEqual(got[name], value, delta=5.1e-5)

    def test_several_metrics_have_a_line_each_and_exact_lines_are_trimmed(self):
        self.files([["a b c d ", " a b c d"], ["x", "y"]])
        got = self.values(metric="bleu,chrf,rouge,exact")
        names = ["BLEU", "chrF2", "rouge1", "rouge2", "rougeL", "rougeLsum", "exact"]
        self.assertEqual(list(got), names)
        self.assertEqual(got["exact"], 0.5)

    def test_a_value_that_is_zero_whatever_the_lines_hold_says_why(self):
        self.files([["a b c", "a b c"]])
        self.assertRegex(self.score().out, r"= 0.00 .*\): no hypothesis has 4 words$")
        self.files(GOLDEN["no_four"]["pairs"])
        out = self.score("--smoothing", "none").out
        self.assertRegex(out, r"= 0.00 .*\): no 4-gram of a hypothesis stands in its reference$")

    def test_hypotheses_come_from_standard_input_too_and_packed(self):
        wanted = self.score().out
        with gzip.open(self.folder / "ref.gz", "wb") as file:
            file.write((self.folder / "ref").read_bytes())
        got = self.program(
            *("th_score", "--metric", "bleu", "--target", "ref.gz"),
            text=(self.folder / "hyp").read_text(encoding="utf-8"),
        )
        self.assertEqual(got.out, wanted)

    def test_bad_input_is_one_line(self):
        def one_line(result, *patterns):
            self.assertEqual(result.out, "")
            self.assertEqual(len(result.err.splitlines()), 1, str(result))
            self.assert_one_message(result, "^th_score: ", *patterns)

        (self.folder / "ref").write_text("one\n")
        one_line(self.score(code=3), r"hyp has \d+ lines and ref has 1")
        self.files([])
        one_line(self.score(code=3), "no lines")
        (self.folder / "hyp").write_bytes(b"\xff\n")
        one_line(self.score(code=3), "hyp:1", "UTF-8")
        (self.folder / "hyp").unlink()
        one_line(self.score(code=3), "hyp", "No such file")
        one_line(self.score(metric="blue", code=2), "blue", "bleu, chrf, rouge, exact")
        one_line(self.score(metric="", code=2), "--metric")
        one_line(self.score("--bleu-tokenizer", "intl", code=2), "intl", "13a, none, char, zh")
        one_line(self.score("--smoothing-value", "0.5", code=2), "floor and add-k")
        one_line(self.score("--word-order", "7", code=2), "0 to 6")
        one_line(self.score("--nothing", code=2), "--nothing")
        one_line(self.program("th_score", code=2), "usage")

    def test_help_and_version(self):
        self.assertIn("--sentence-separator", self.program("th_score", "--help").out)
        self.assertRegex(self.program("th_score", "--version").out, r"^th_score \d+\.\d+")


if __name__ == "__main__":
    th_run.main()
