#!/usr/bin/env python3
"""Combined options as whole runs: one rank against one to three and a resume on another number of
them, over stages and kinds of recomputation the same bits, and planned as measured. The decks are
tests/decks/good/pairs_NN.in; with --long those that hold every pair of values, all on three and
then eight ranks."""

import sys
from pathlib import Path

import th_run

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "decks"))
import make_pairs  # noqa: E402

WAYS = [  # ranks, stage, recomputation, the step at which the run is cut and resumed
    {"zero__stage": 1, "model__gradient_checkpointing": "selective"},
    {"zero__stage": 2, "model__gradient_checkpointing": "full"},
    {"zero__stage": 3, "model__gradient_checkpointing": "sqrt"},
]
STEPS = 5
# Ranks that begin a run and those that go on with it, in turns: each pair with each of the ways in
# twelve decks. Models of all options on eight ranks are tests/mpi/options.cpp and
# attention_kinds.cpp.
RANKS = [(3, 8)] if th_run.LONG else [(3, 1), (2, 3), (1, 2), (2, 1)]


class OptionPairs(th_run.ProgramTest):
    def run_keys(self, keys, ranks, code=0, **more):
        merged = {
            **keys,
            "data.train_source": "train.en",
            "data.train_target": "train.fr",
            "data.valid_source": "valid.en",
            "data.valid_target": "valid.fr",
            "data.test_source": "test.en",
            "data.test_target": "test.fr",
            "data.batch_size": "5",
            "train.micro_batches": "8",
            "train.max_steps": str(STEPS),
            **{key.replace("__", "."): str(value) for key, value in more.items()},
        }
        words = [f"{key}={value}" for key, value in merged.items()]
        return self.program("th_app", "empty.in", *words, code=code, ranks=ranks)

    def planned_as_measured(self, run):
        (summary,) = self.metrics(run, "summary")
        for planned, measured in zip(summary["planned_bytes"], summary["measured_bytes"]):
            self.assertAlmostEqual(int(measured) / int(planned), 1.0, delta=0.005)

    def check(self, number, keys):
        self.run_keys(keys, 1, run__output_dir="one")
        self.planned_as_measured("one")
        first, second = RANKS[number % len(RANKS)]
        way = WAYS[number % len(WAYS)]
        self.run_keys(keys, first, run__output_dir="parts", train__max_steps=2, **way)
        self.planned_as_measured("parts")
        way = WAYS[(number + 1) % len(WAYS)]
        self.run_keys(keys, second, run__output_dir="parts", checkpoint__resume="latest", **way)
        self.assert_same_run("parts", "one")
        self.planned_as_measured("parts")
        hypotheses = [(self.folder / run / "test.hyp").read_text() for run in ("one", "parts")]
        self.assertEqual(*hypotheses)

    def check_decks(self, decks):
        (self.folder / "empty.in").write_text("")
        for language in ("en", "fr"):
            lines = (self.folder / f"valid.{language}").read_text().splitlines(keepends=True)
            (self.folder / f"test.{language}").write_text("".join(lines[:8]))
        for number, keys in enumerate(decks):
            with self.subTest(number=number + 1, **keys):
                self.check(number, keys)

    def test_every_pair_of_options(self):
        decks = sorted(make_pairs.FOLDER.glob("pairs_*.in"))
        self.assertEqual(len(decks), make_pairs.DECKS)
        self.check_decks([make_pairs.keys_in(deck.read_text()) for deck in decks])


class ValuePairs(OptionPairs):
    """Decks until each pair of values is in one."""

    def test_every_pair_of_options(self):
        self.check_decks([make_pairs.keys_of(row) for row in make_pairs.all_value_rows()])


if __name__ == "__main__":
    del globals()["OptionPairs" if th_run.LONG else "ValuePairs"]
    th_run.main()
