#!/usr/bin/env python3
"""What a run leaves below run.output_dir: metrics.jsonl, resolved.in, run.log, and what rank 0
prints."""

import json
import math
import re

import th_run

KEYS = {
    "step": [
        "kind",
        "step",
        "epoch",
        "loss",
        "grad_norm",
        "lr",
        "source_tokens",
        "target_tokens",
        "seconds",
    ],
    "epoch": ["kind", "epoch", "train_loss", "valid_loss", "seconds"],
    "eval": ["kind", "metric", "value"],
    "summary": [
        "kind",
        "steps",
        "tokens_per_second",
        "rss_before_model_bytes",
        "padding_fraction",
        "attention_padding_fraction",
        "peak_rss_bytes",
        "model_state_bytes",
        "planned_bytes",
        "measured_bytes",
        "bytes_sent",
        "bytes_on_node",
        "bytes_between_nodes",
        "traffic",
        "exit",
    ],
}


class Records(th_run.SharedRunTest):
    RANKS = 3

    def train_once(self):
        self.train(
            ranks=self.RANKS,
            zero__stage=2,
            train__epochs=2,
            run__warmup_steps=2,
            data__test_source="valid.en",
            data__test_target="valid.fr",
            decode__max_length=8,
        )

    def summary(self):
        records = self.metrics(kind="summary")
        self.assertEqual(len(records), 1)
        self.assertEqual(self.metrics()[-1], records[0], "the summary is the last record")
        return records[0]

    def test_kinds_come_in_order_with_their_keys(self):
        records = self.metrics()
        self.assertEqual(
            [r["kind"] for r in records],
            (["step"] * 6 + ["epoch"]) * 2 + ["eval"] * 2 + ["summary"],
        )
        for record in records:
            self.assertEqual(
                [key for key in record if key in KEYS[record["kind"]]], KEYS[record["kind"]]
            )
        self.assertEqual(
            [r["step"] for r in self.metrics(kind="step")], [str(s) for s in range(1, 13)]
        )
        self.assertEqual([r["epoch"] for r in self.metrics(kind="step")], ["0"] * 6 + ["1"] * 6)
        self.assertEqual(self.metrics(kind="eval")[0]["metric"], "bleu")

    def test_numbers_have_no_more_digits_than_an_fp64_number_needs(self):
        # The JSON library's text is the shortest that reads back in most cases, and else one of 17
        # digits that reads back to the same bits.
        for record in self.metrics():
            for key, value in record.items():
                if isinstance(value, str) and re.match(r"-?\d+\.", value):
                    digits = re.sub(r"[eE].*", "", value).lstrip("-").replace(".", "").strip("0")
                    self.assertLessEqual(len(digits), 17, key)
                    shortest = repr(float(value))
                    if value != shortest and "e" not in value + shortest:
                        self.assertEqual(
                            len(digits),
                            17,
                            f"{key}: {value} is neither the shortest text nor all digits",
                        )

    def test_tokens_of_an_epoch_are_those_of_the_corpus(self):
        for key, name in (("source_tokens", "train.en"), ("target_tokens", "train.fr")):
            words = sum(
                len(line.split()) + 1 for line in (self.folder / name).read_text().splitlines()
            )  # and the end, or the begin
            for epoch in ("0", "1"):
                self.assertEqual(
                    sum(int(r[key]) for r in self.metrics(kind="step") if r["epoch"] == epoch),
                    words,
                )

    def test_train_loss_is_the_mean_over_the_epochs_tokens(self):
        for epoch in self.metrics(kind="epoch"):
            steps = [
                (float(r["loss"]), int(r["target_tokens"]))
                for r in self.metrics(kind="step")
                if r["epoch"] == epoch["epoch"]
            ]
            mean = math.fsum(loss * tokens for loss, tokens in steps) / sum(
                tokens for _, tokens in steps
            )
            # Doubles: six products and sums round by a few units in 1e-16.
            self.assertAlmostEqual(float(epoch["train_loss"]), mean, delta=1e-13)

    def test_summary_counts_steps_tokens_and_time_without_the_warm_up(self):
        summary = self.summary()
        self.assertEqual((summary["steps"], summary["exit"]), ("12", "completed"))
        timed = [r for r in self.metrics(kind="step") if int(r["step"]) > 2]
        tokens = sum(int(r["source_tokens"]) + int(r["target_tokens"]) for r in timed)
        rate = tokens / math.fsum(float(r["seconds"]) for r in timed)
        self.assertAlmostEqual(
            float(summary["tokens_per_second"]) / rate, 1, delta=1e-12
        )  # doubles, ten sums
        self.assertEqual(float(summary["padding_fraction"]), 0.0, "rows are packed")
        self.assertEqual(
            float(summary["attention_padding_fraction"]),
            0.0,
            "and attention in one kernel takes them as they are",
        )

    def test_attention_of_products_pads_within_groups(self):
        self.train(train__max_steps=2, run__attention="products", run__output_dir="products")
        self.assertTrue(
            0 < float(self.metrics("products", "summary")[0]["attention_padding_fraction"]) < 1
        )

    def test_summary_has_one_number_for_each_rank(self):
        summary = self.summary()
        for key in ("rss_before_model_bytes", "peak_rss_bytes", "model_state_bytes", "bytes_sent"):
            self.assertEqual(len(summary[key]), self.RANKS, key)
            self.assertTrue(all(int(value) > 0 for value in summary[key]), key)
        for before, peak in zip(summary["rss_before_model_bytes"], summary["peak_rss_bytes"]):
            self.assertLess(int(before), int(peak))
        self.assertEqual(
            len(set(summary["bytes_sent"])), 1, "the collectives are alike on every rank"
        )

    def test_traffic_is_counted_by_call_and_class_in_both_directions(self):
        summary = self.summary()
        rows = {(row["collective"], row["class"]): row for row in summary["traffic"]}
        self.assertEqual(
            set(rows),
            {
                ("exchange", "gradients"),
                ("all_gather", "parameters"),
                ("control", "scalars and texts"),
            },
        )
        data = [row for key, row in rows.items() if key[0] != "control"]
        self.assertEqual(str(sum(int(row["sent"]) for row in data)), summary["bytes_sent"][0])
        for row in data:
            self.assertEqual(row["sent"], row["received"])
            self.assertGreater(int(row["calls"]), 0)
        # 12 steps of three rounds over the units, each an exchange.
        self.assertEqual(int(rows["exchange", "gradients"]["calls"]) % (12 * 3), 0)

    def test_summary_has_planned_and_measured_bytes_for_each_rank(self):
        summary = self.summary()
        for key in ("planned_bytes", "measured_bytes"):
            self.assertEqual(len(summary[key]), self.RANKS, key)
            self.assertTrue(all(int(value) > 0 for value in summary[key]), key)

    def test_one_process_sends_nothing_and_single_sentences_need_no_padding(self):
        self.train(train__max_steps=2, data__batch_size=1, run__output_dir="one")
        summary = self.metrics("one", "summary")[0]
        self.assertEqual((summary["bytes_sent"], float(summary["padding_fraction"])), (["0"], 0.0))
        self.assertEqual(float(summary["attention_padding_fraction"]), 0.0)
        self.assertEqual(len(summary["peak_rss_bytes"]), 1)

    def test_test_set_is_translated_line_by_line(self):
        self.assertEqual(len((self.folder / "out" / "test.hyp").read_text().splitlines()), 40)
        bleu = float(self.metrics(kind="eval")[0]["value"])
        self.assertTrue(0 <= bleu <= 100)

    def test_resolved_deck_runs_again_from_another_folder_with_the_same_bits(self):
        again = self.folder / "again"
        again.mkdir()
        deck = (self.folder / "out" / "resolved.in").read_text()
        # The first copy of the run lay in another temporary folder; the deck's absolute paths
        # follow it here.
        first = re.search(r"output_dir = (.*)/out  #", deck).group(1)
        (again / "resolved.in").write_text(deck.replace(first, str(self.folder)))
        self.program("th_app", "again/resolved.in", ranks=2)
        self.assertEqual(len(self.metrics("out.1", "step")), 12, "the first run is set aside")
        self.assert_same_run("out", "out.1")
        for line in deck.splitlines():
            if line and line[0] not in "#[":
                self.assertRegex(line, r"^\w+ = \S.*  # (default|command line|deck:\d+)$")
            if re.match(r"(train|valid|test)_(source|target)|output_dir", line):
                self.assertRegex(line, r" = /")


class Output(th_run.ProgramTest):
    def test_rank_0_alone_prints_header_sizes_and_epochs_and_the_log_has_them(self):
        result = self.train(ranks=3, train__epochs=1)
        self.assert_one_message(result, r"^th_app\s+th_app \d+\.\d+\.\d+ ")
        self.assert_one_message(result, "^Dataset: 480 training pairs")
        self.assert_one_message(result, r"^Vocabulary: source \d+, target \d+$")
        parameters = json.loads(self.program("th_inspect", "ls", self.latest(), "--json").out)
        count = sum(math.prod(row["shape"]) for row in parameters if "/" not in row["name"])
        self.assert_one_message(result, f"^Parameters: {count}$")
        epoch = self.metrics(kind="epoch")[0]
        self.assert_one_message(result, f"^Epoch 0: Loss = {float(epoch['train_loss']):.4f}")
        log = (self.folder / "out" / "run.log").read_text()
        for text in ("Dataset:", "Vocabulary:", "Parameters:", "Epoch 0: Loss ="):
            self.assertIn(text, log)

    def test_numbers_that_are_not_finite_are_null_and_end_the_run_with_code_6(self):
        result = self.train(
            ranks=2,
            train__max_steps=20,
            optimizer__lr="1e30",
            schedule__name="constant",
            train__gradient_clip=0,
            code=6,
        )
        self.assert_one_message(result, "error", r"step \d+", "not finite")
        steps = self.metrics(kind="step")
        self.assertIn(None, (steps[-1]["loss"], steps[-1]["grad_norm"]))
        for step in steps[:-1]:
            self.assertNotIn(None, step.values())

    def test_paths_in_a_deck_are_relative_to_it_and_output_to_the_working_directory(self):
        (self.folder / "decks").mkdir()
        keys = [
            word
            for word in self.overrides({"train__max_steps": 1})
            if not word.startswith(("run.output_dir", "data.test"))
        ]
        lines = [
            word.replace(
                "=", " = ../" if word.startswith("data.") and "batch" not in word else " = "
            )
            for word in keys
        ]
        (self.folder / "decks" / "mine.in").write_text("\n".join(lines) + "\n")
        self.program("th_app", "decks/mine.in")
        self.assertEqual(len(self.metrics("runs/mine", "step")), 1)

    def test_folder_that_no_deck_could_name_is_refused_before_anything_is_written(self):
        # A # begins a comment in a deck: resolved.in and the checkpoint's deck would name another
        # folder.
        self.assert_one_message(
            self.train(train__max_steps=1, run__output_dir="array#3/out", code=2),
            "run.output_dir",
            "#",
        )
        self.assertFalse((self.folder / "array#3").exists())


if __name__ == "__main__":
    th_run.main()
