#!/usr/bin/env python3
"""One sentence, one translation: no bit of text, score or loss depends on what stands beside it.
With --long at every size of batches and beam in every type."""

import hashlib
import random

import th_run

LINES = 120
BATCHES = (1, 7, 32, 64) if th_run.LONG else (1, 64)  # lines are shuffled in batches of 32


class OneTranslation(th_run.SharedRunTest):
    def train_once(self):
        self.train_on_numbers(
            schedule__warmup_steps=60,
            train__max_steps=80,
            decode__max_length=20,
        )

    def setUp(self):
        super().setUp()
        for side in ("source", "target"):
            path = th_run.NUMBERS[f"data__train_{side}"]
            setattr(self, f"{side}_lines", path.read_text().splitlines()[:LINES])

    def of_type(self, dtype):
        """A checkpoint whose decoding computes in this type."""
        if dtype == "fp32":
            return self.latest()
        name = f"out_{dtype}"
        self.train(
            run__output_dir=name,
            **th_run.NUMBERS,
            checkpoint__init_from=self.latest(),
            precision__dtype=dtype,
            decode__max_length=20,
            train__max_steps=1,
        )
        return self.latest(name)

    def best_of(self, checkpoint, lines, batch, beam, threads=1):
        """The translations of each line with their scores, all digits."""
        text = "".join(f"{line}\n" for line in lines)
        out = self.program(
            "th_translate",
            checkpoint,
            *("--beam", beam, "--n-best", beam, "--batch", batch, "--threads", threads),
            *self.options,
            text=text,
        ).out
        best = [[] for _ in lines]
        for line in out.splitlines():
            number, rest = line.split("\t", 1)
            best[int(number)].append(rest)
        return best

    def scores_of(self, checkpoint, order, batch):
        for name, lines in (("source", self.source_lines), ("target", self.target_lines)):
            (self.folder / name).write_text("".join(f"{lines[i]}\n" for i in order))
        words = ("--score", "--input", "source", "--target", "target", "--batch", batch)
        words += self.options
        out = self.program("th_translate", checkpoint, *words).out.splitlines()
        return dict(zip(order, out))

    def check(self, dtype, beams=(1, 5) if th_run.LONG else (5,), options=()):
        self.options = options
        checkpoint = self.of_type(dtype)
        order = list(range(LINES))
        shuffled = random.Random(5).sample(order, LINES)
        for beam in beams:
            seen = set()
            for batch, threads in (*((batch, 1) for batch in BATCHES), (7, 3)):
                best = self.best_of(checkpoint, self.source_lines, batch, beam, threads)
                seen.add(hashlib.sha256(repr(best).encode()).hexdigest())
            lines = [self.source_lines[i] for i in shuffled]
            back = dict(zip(shuffled, self.best_of(checkpoint, lines, 32, beam)))
            best = [back[i] for i in order]
            seen.add(hashlib.sha256(repr(best).encode()).hexdigest())
            self.assertEqual(len(seen), 1, f"{dtype}, beam {beam}")
        # Batches of one line have it alone already; here it is the whole input too.
        self.assertEqual(
            self.best_of(checkpoint, self.source_lines[3:4], 1, beam)[0], best[3], "alone"
        )
        scores = self.scores_of(checkpoint, order, 1)
        self.assertNotIn("", scores.values())
        for batch in BATCHES[1:-1]:
            self.assertEqual(self.scores_of(checkpoint, order, batch), scores, f"{dtype} {batch}")
        self.assertEqual(self.scores_of(checkpoint, shuffled, 64), scores, dtype)

    def test_fp32(self):
        self.check("fp32", beams=(1, 5))

    def test_bf16(self):
        self.check("bf16")

    def test_fp16(self):
        self.check("fp16")

    def test_int8(self):
        th_run.skip_without_int8(self)
        self.check("fp32", options=("--dtype", "int8"))

    def test_validation_loss_whatever_the_batches_and_ranks(self):
        losses = set()
        for ranks, size in ((1, 1), (3, 7), (2, 64)):
            name = f"valid_{ranks}_{size}"
            self.train(
                ranks=ranks,
                run__output_dir=name,
                data__train_source="train.en",
                data__train_target="train.fr",
                data__batch_size=size,
                checkpoint__init_from=self.latest(),
                optimizer__lr=1e-30,  # no parameter changes
                schedule__name="constant",
                train__micro_batches=3,
                train__max_steps=1,
            )
            records = self.metrics(name)
            losses |= {r["value"] for r in records if r.get("metric") == "valid_loss"}
            losses |= {r["valid_loss"] for r in records if r.get("valid_loss") is not None}
        self.assertEqual(len(losses), 1, losses)


if __name__ == "__main__":
    th_run.main()
