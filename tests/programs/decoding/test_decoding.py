#!/usr/bin/env python3
"""Beam search and scores: th_app's test set and th_translate --beam, --n-best, --score."""

import gzip
import math

import th_run

KEYS = {
    "data__test_source": "valid.en",
    "data__test_target": "valid.fr",
    "decode__beam": 3,
    "decode__length_penalty": 0.6,
    "decode__max_length": 20,
}


class Beam(th_run.SharedRunTest):
    def train_once(self):
        self.train_on_numbers(
            schedule__warmup_steps=100,
            train__max_steps=128,
            **KEYS,
        )

    def setUp(self):
        super().setUp()
        self.expected = (self.folder / "out" / "test.hyp").read_text().splitlines()

    def translate(self, *options, text=None, code=0):
        return self.program("th_translate", self.latest(), *options, text=text or "", code=code)

    def score(self, target):
        rows = [
            line.split("\t")
            for line in self.translate(
                "--score", "--input", "valid.en", "--target", target
            ).out.splitlines()
        ]
        return [(float(log_prob), int(tokens)) for log_prob, tokens in rows]

    def penalty(self, tokens):
        return ((5 + tokens) / 6) ** KEYS["decode__length_penalty"]

    def test_the_checkpoints_deck_gives_beam_and_penalty(self):
        self.assertGreater(len(set(self.expected)), 10)
        self.assertEqual(self.translate("--input", "valid.en").out.splitlines(), self.expected)
        self.assertEqual(
            self.translate("--input", "valid.en", "--batch", "1").out.splitlines(),
            self.expected,
            "a line depends on its neighbours",
        )
        same = self.translate(
            "--input", "valid.en", "--beam", "3", "--length-penalty", "0.6", "--max-length", "20"
        )
        self.assertEqual(same.out.splitlines(), self.expected)

    def test_n_best_scores_are_those_of_score(self):
        rows = [
            line.split("\t")
            for line in self.translate("--input", "valid.en", "--n-best", "3").out.splitlines()
        ]
        self.assertEqual([int(row[0]) for row in rows], [i for i in range(40) for _ in range(3)])
        self.assertEqual([row[2] for row in rows[::3]], self.expected)
        for rank in range(3):
            (self.folder / f"rank{rank}.fr").write_text(
                "".join(row[2] + "\n" for row in rows[rank::3])
            )
            for row, (log_prob, tokens) in zip(rows[rank::3], self.score(f"rank{rank}.fr")):
                self.assertEqual(tokens, len(row[2].split()) + 1, "the end counts")
                self.assertLess(log_prob, 0)
                # fp32 logits, in steps and at once: each token's error is about 1e-5.
                self.assertAlmostEqual(float(row[1]), log_prob / self.penalty(tokens), delta=1e-3)
        for best, second in zip(rows[0::3], rows[1::3]):
            self.assertGreaterEqual(float(best[1]), float(second[1]))

    def test_wide_beams_find_no_less_likely_translations(self):
        def total(beam):
            rows = self.translate(
                "--input", "train.en", "--n-best", "1", "--beam", beam
            ).out.splitlines()
            return math.fsum(float(row.split("\t")[1]) for row in rows)

        self.assertGreater(total("8"), total("1"))

    def test_scores_of_references_agree_with_the_validation_loss(self):
        log_probs, tokens = zip(*self.score("valid.fr"))
        valid = float(self.metrics(kind="epoch")[-1]["valid_loss"])
        self.assertEqual(
            sum(tokens),
            sum(
                len(line.split()) + 1
                for line in (self.folder / "valid.fr").read_text().splitlines()
            ),
        )
        self.assertAlmostEqual(
            -math.fsum(log_probs) / sum(tokens), valid, delta=1e-4
        )  # fp32 sums in another order
        with gzip.open(self.folder / "valid.fr.gz", "wt") as file:
            file.write((self.folder / "valid.fr").read_text())
        self.assertEqual([t for _, t in self.score("valid.fr.gz")], list(tokens))

    def test_empty_and_unknown_lines(self):
        (self.folder / "a.en").write_text("\nzzz qqq 漢字\n")
        (self.folder / "a.fr").write_text("zzz qqq\n\n")
        rows = [
            line.split("\t")
            for line in self.translate(
                "--score", "--input", "a.en", "--target", "a.fr"
            ).out.splitlines()
        ]
        self.assertEqual([row[1] for row in rows], ["3", "1"])
        self.assertEqual(len(self.translate("--input", "a.en", "--beam", "4").out.splitlines()), 2)
        self.assertEqual(self.translate("--beam", "4", text="").out, "")

    def test_requests_that_cannot_be_met_are_refused(self):
        cases = (
            ("--beam", "0"),
            ("--beam", "x"),
            ("--length-penalty", "-1"),
            ("--length-penalty", "nan"),
            ("--max-length", "0"),
            ("--n-best", "4"),
            ("--score",),
            ("--target", "valid.fr"),
            ("--score", "--input", "valid.en", "--target", "valid.fr", "--beam", "2"),
        )
        for options in cases:
            self.assert_one_message(self.translate(*options, code=2), "^th_translate: ")
        (self.folder / "short.fr").write_text("un\n")
        self.assert_one_message(
            self.translate("--score", "--input", "valid.en", "--target", "short.fr", code=3),
            "40 lines",
            "1",
        )


class Ranks(th_run.ProgramTest):
    def test_test_set_is_the_same_at_every_rank_count_and_stage(self):
        seen = {}
        for ranks, stage in ((1, 0), (2, 3), (3, 0), (3, 3)):
            run = f"np{ranks}_stage{stage}"
            self.train(
                ranks=ranks, zero__stage=stage, run__output_dir=run, train__max_steps=30, **KEYS
            )
            evals = [(r["metric"], r["value"]) for r in self.metrics(run, "eval")]
            seen[run] = ((self.folder / run / "test.hyp").read_text(), evals)
        first = seen["np1_stage0"]
        self.assertEqual(len(first[0].splitlines()), 40)
        self.assertGreater(len(set(first[0].splitlines())), 1)
        for run, value in seen.items():
            self.assertEqual(value, first, run)


if __name__ == "__main__":
    th_run.main()
