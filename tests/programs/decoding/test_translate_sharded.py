#!/usr/bin/env python3
"""th_translate --sharded below mpirun: a checkpoint in shards over the ranks gives the bytes that
one rank gives with all of it; auto, signals, and what can't go together."""

import signal
import subprocess
import time

import th_run


class Sharded(th_run.SharedRunTest):
    def train_once(self):
        self.train_on_numbers(
            model__tie_embeddings="decoder",
            schedule__warmup_steps=60,
            train__max_steps=60,
            decode__max_length=20,
        )

    def setUp(self):
        super().setUp()
        self.lines = (self.folder / "train.en").read_text().splitlines()
        self.write("in", self.lines[:150] + ["", "   "] + self.lines[150:300])

    def write(self, name, lines):
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def translate(self, *options, **keys):
        return self.program("th_translate", self.latest(), *options, **keys)

    def test_bytes_are_those_of_one_rank_with_all_parameters(self):
        words = ("--input", "in", "--beam", 3, "--n-best", 2)
        reference = self.translate(*words).out
        self.assertGreater(len(set(reference.splitlines())), 40)
        for ranks in (1, 2, 3, 8):
            result = self.translate(*words, "--threads", 1, "--sharded", "on", ranks=ranks)
            self.assertEqual(result.out, reference, f"{ranks} ranks")
            self.assertEqual("sharded over" in result.err, ranks > 1, result)
        greedy = self.translate("--input", "in", "--dtype", "bf16").out
        text = (self.folder / "in").read_text()
        options = ("--dtype", "bf16", "--sharded", "on")
        self.assertEqual(self.translate(*options, ranks=3, text=text).out, greedy)

    def test_samples_and_scores_too(self):
        self.write("target", (self.folder / "train.fr").read_text().splitlines()[:300])
        self.write("in", self.lines[:300])
        score = ("--score", "--input", "in", "--target", "target")
        self.assertEqual(
            self.translate(*score, "--sharded", "on", ranks=3).out, self.translate(*score).out
        )
        draw = ("--input", "in", "--sampling", "--seed", 4)
        self.assertEqual(
            self.translate(*draw, "--sharded", "on", ranks=2).out, self.translate(*draw).out
        )

    def test_auto_shards_what_no_rank_can_hold(self):
        reference = self.translate("--input", "in").out
        roomy = self.translate("--input", "in", ranks=2)
        self.assertNotIn("sharded over", roomy.err)
        self.environment["TH_FAKE_AVAILABLE_MEMORY"] = "100000"
        tight = self.translate("--input", "in", ranks=2)
        self.assertEqual(tight.out, reference)
        self.assert_one_message(tight, "parameters are sharded over 2 ranks")
        off = self.translate("--input", "in", "--sharded", "off", ranks=2)
        self.assertEqual((off.out, "sharded over" in off.err), (reference, False))

    def test_what_needs_all_parameters_on_a_rank_is_refused(self):
        for options, pattern in (
            (["--alignment"], "--alignment"),
            (["--ensemble", self.latest()], "--ensemble"),
            (["--serve", "socket"], "--serve"),
        ):
            result = self.translate("--sharded", "on", *options, code=2, text="")
            self.assert_one_message(result, "--sharded on", pattern)
        self.assert_one_message(self.translate("--sharded", "maybe", code=2, text=""), "maybe")

    def test_a_target_that_is_damaged_is_told_once(self):
        (self.folder / "in").write_bytes(b"one two\n\xff\nthree\n")
        result = self.translate("--input", "in", "--sharded", "on", code=3, ranks=2)
        self.assert_one_message(result, "in:2: invalid UTF-8")
        shard = next(self.latest().glob("shard_*.h5"))
        shard.write_bytes(shard.read_bytes()[:-2000])
        result = self.translate("--input", "in", "--sharded", "on", code=5, ranks=3)
        self.assert_one_message(result, "shard_0000")

    def test_a_signal_to_one_rank_stops_all_and_the_job_goes_on(self):
        self.write("in", self.lines * 3)
        reference = self.translate("--input", "in").out
        words = ["--input", "in", "--output", "out.fr", "--beam", 1, "--sharded", "on"]
        process = subprocess.Popen(
            self.command("th_translate", [self.latest(), *words], 2),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(th_run.end, process)
        end = time.monotonic() + th_run.LIMIT_S
        output = self.folder / "out.fr"
        while not output.exists() or output.stat().st_size == 0:
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        process.send_signal(signal.SIGUSR1)
        _, err = process.communicate(timeout=th_run.LIMIT_S)
        self.assertEqual(process.returncode, 75, err)
        self.assertTrue((self.folder / "out.fr.journal").exists())
        went_on = self.translate(*words)  # one process: the job is the same
        self.assertIn("goes on behind line", went_on.err)
        self.assertEqual(output.read_text(), reference)


if __name__ == "__main__":
    th_run.main()
