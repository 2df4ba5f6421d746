#!/usr/bin/env python3
"""Metrics of validation: the same bits at every rank count, the same numbers as th_score's; a
user's script, good and bad; sample translations."""

import math
import re

import th_run

METRICS = "loss,perplexity,bleu,chrf,rouge,exact"
NAMES = ["perplexity", "bleu", "chrf", "rouge1", "rouge2", "rougeL", "rougeLsum", "exact"]
KEYS = {
    "train__epochs": 2,
    "train__valid_every_steps": 4,
    "decode__max_length": 12,
    "valid__metrics": METRICS,
}
LINES = 40


class Metrics(th_run.SharedRunTest):
    def train_once(self):
        self.train(ranks=3, monitor__sample_lines=2, **KEYS)

    def evals(self, run="out", **wanted):
        records = self.metrics(run, "eval")
        return [r for r in records if all(r.get(key) == value for key, value in wanted.items())]

    def test_records_have_set_step_and_signature(self):
        # Steps 4 and 8 by number, 6 and 12 at an epoch's end, where the loss is in its record.
        seen = [(r["step"], r["metric"]) for r in self.evals(set="valid")]
        wanted = []
        for step in ("4", "6", "8", "12"):
            if step in "48":
                wanted.append((step, "valid_loss"))
            wanted += [(step, name) for name in NAMES]
        self.assertEqual(seen, wanted)
        self.assertEqual(self.evals(set="test"), [])
        for record in self.evals(metric="bleu"):
            self.assertIn("|tok:13a|smooth:exp|", record["signature"])
        for record in self.evals(metric="valid_loss") + self.evals(metric="perplexity"):
            self.assertNotIn("signature", record)

    def test_perplexity_is_the_exponential_of_the_loss(self):
        loss = {r["step"]: float(r["value"]) for r in self.evals(metric="valid_loss")}
        loss |= {
            str(6 * (int(e["epoch"]) + 1)): float(e["valid_loss"])
            for e in self.metrics(kind="epoch")
        }
        for record in self.evals(metric="perplexity"):
            self.assertAlmostEqual(
                float(record["value"]) / math.exp(loss[record["step"]]), 1, places=12
            )

    def test_other_rank_counts_give_the_same_bits(self):
        for ranks, stage in ((0, 0), (8, 3)):
            self.train(ranks=ranks, zero__stage=stage, run__output_dir=f"np{ranks}", **KEYS)
            self.assert_same_run(f"np{ranks}", "out")
            self.assertEqual(self.evals(f"np{ranks}"), self.evals())

    def test_log_has_the_scores_and_the_samples(self):
        log = (self.folder / "out" / "run.log").read_text()
        self.assertEqual(len(re.findall(r"Validation at step \d+: perplexity = .*BLEU = ", log)), 4)
        sources = (self.folder / "valid.en").read_text().splitlines()
        references = (self.folder / "valid.fr").read_text().splitlines()
        for number, line in ((1, 0), (2, 20)):
            for name, text in (("source:    ", sources), ("reference: ", references)):
                self.assertEqual(log.count(f"Sample {number} {name} {text[line]}\n"), 4)
            self.assertEqual(len(re.findall(rf"Sample {number} hypothesis: ", log)), 4)

    def test_memory_plan_holds_decoding_in_validation(self):
        summary = self.metrics(kind="summary")[0]
        for planned, measured in zip(summary["planned_bytes"], summary["measured_bytes"]):
            self.assertAlmostEqual(int(measured) / int(planned), 1, delta=0.02)

    def test_a_long_validation_text_is_not_kept_between_validations(self):
        for end in ("en", "fr"):
            text = (self.folder / f"valid.{end}").read_text()
            (self.folder / f"long.{end}").write_text(text * (1500 // LINES))
        keys = {
            "data__valid_source": "long.en",
            "data__valid_target": "long.fr",
            "valid__metrics": "bleu",
            "valid__max_lines": 2,
            "decode__max_length": 3,
            "train__max_steps": 2,
        }
        self.train(ranks=2, run__output_dir="long", **keys)
        summary = self.metrics("long", "summary")[0]
        self.assertEqual(summary["planned_bytes"], summary["measured_bytes"])

    def test_decoded_lines_are_those_that_th_translate_writes(self):
        self.train(ranks=2, valid__script=self.script("wc -l < $1"), run__output_dir="two", **KEYS)
        final = self.program("th_translate", "two", "--input", "valid.en", "--max-length", "12").out
        self.assertEqual((self.folder / "two" / "valid.hyp").read_text(), final)
        self.assertEqual(
            (self.folder / "two" / "valid.ref").read_text(),
            (self.folder / "valid.fr").read_text(),
        )
        last = {r["metric"]: float(r["value"]) for r in self.evals("two") if r["step"] == "12"}
        words = ("--input", "two/valid.hyp", "--target", "valid.fr")
        out = self.program("th_score", "--metric", "bleu,chrf,rouge,exact", *words).out
        printed = [float(line.split(" = ")[1].split()[0]) for line in out.splitlines()]
        for value, name in zip(printed, NAMES[1:]):
            self.assertAlmostEqual(value, last[name], delta=0.00501)
        self.assertEqual(last["script"], LINES)

    def script(self, body):
        path = self.folder / "score.sh"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    def run_with_script(self, body, **keys):
        self.train(
            ranks=2,
            train__max_steps=2,
            valid__script=self.script(body),
            run__output_dir="scripted",
            decode__max_length=4,
            **keys,
        )
        log = (self.folder / "scripted" / "run.log").read_text()
        values = [r["value"] for r in self.evals("scripted", metric="script")]
        return log, values

    def test_scripts_that_give_no_number_are_warnings(self):
        for body, trouble in (
            ("echo many", "wrote 'many', which is not one number"),
            ("echo 1 2", "wrote '1 2'"),
            ("echo nan", "wrote 'nan'"),
            ("true", "wrote ''"),
            ("echo 3; exit 4", "ended with code 4"),
            ("kill -9 $$", "ended by signal 9"),
            ("sleep 60", r"took longer than valid.script_seconds = 0.30"),
        ):
            log, values = self.run_with_script(body, valid__script_seconds=0.3)
            self.assertEqual(values, [], body)
            self.assertEqual(len(re.findall(trouble, log)), 1, f"{body}\n{log}")
            self.assertIn("no score", log)

    def test_a_script_sees_three_files_and_max_lines_of_them(self):
        body = 'test $# = 3 || exit 1; cat "$1" "$2" "$3" | wc -l'
        log, values = self.run_with_script(body, valid__max_lines=7)
        self.assertEqual([float(v) for v in values], [21])
        self.assertNotIn("warn", log.lower())

    def test_a_script_that_is_no_program_is_an_error_of_the_deck(self):
        path = self.script("echo 1")
        path.chmod(0o644)
        result = self.train(ranks=2, valid__script=path, run__output_dir="none", code=2)
        self.assert_one_message(result, "valid.script", "no program")

    def test_label_smoothing_is_told_once(self):
        self.train(train__max_steps=1, train__label_smoothing=0.1, run__output_dir="smooth")
        log = (self.folder / "smooth" / "run.log").read_text()
        self.assertEqual(log.count("validation loss does not"), 1)
        self.assertNotIn("label smoothing", (self.folder / "out" / "run.log").read_text())

    def test_samples_alone_translate_no_more(self):
        self.train(
            train__max_steps=2, monitor__sample_lines=3, decode__max_length=5, run__output_dir="few"
        )
        self.assertEqual([r["metric"] for r in self.evals("few")], ["valid_loss"])
        log = (self.folder / "few" / "run.log").read_text()
        self.assertEqual(log.count("hypothesis:"), 3)

    def test_plan_counts_decoding_in_validation(self):
        def classes(*words):
            deck = [th_run.DECK, *self.overrides({}), "--plan", "--plan.ranks=2", *words]
            return self.program("th_app", *deck).out

        self.assertNotEqual(
            classes(), classes("valid.metrics=bleu", "decode.max_length=100", "decode.beam=8")
        )


if __name__ == "__main__":
    th_run.main()
