#!/usr/bin/env python3
"""tools/score_curve.py tells the course of a run's validation from the records of metrics.jsonl."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import th_run


def records():
    """Two epochs of three steps of 60 s; validation after steps 2, 3 and 6, whose loss takes 30 s
    at an epoch's end; a test score that is none of the validation's."""
    bleu = {2: 30.0, 3: 38.5, 6: 39.25}
    for step in range(1, 7):
        epoch = (step - 1) // 3
        yield {"kind": "step", "step": step, "epoch": epoch, "seconds": 60.0}
        found = {"kind": "eval", "set": "valid", "step": step}
        if step % 3 == 0:
            yield {"kind": "epoch", "epoch": epoch, "seconds": 210.0, "valid_loss": 2.0 / step}
        elif step in bleu:
            yield {**found, "metric": "valid_loss", "value": 2.0 / step}
        if step in bleu:
            yield {**found, "metric": "bleu", "value": bleu[step]}
    yield {"kind": "eval", "set": "test", "step": 6, "metric": "bleu", "value": 99.0}


class ScoreCurve(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="th-program-test.")
        self.addCleanup(folder.cleanup)
        self.run_folder = Path(folder.name)

    def curve(self, *words, code=0):
        command = [sys.executable, "-B", str(th_run.SOURCE / "tools" / "score_curve.py")]
        done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def write(self, found):
        text = "".join(json.dumps(one) + "\n" for one in found)
        (self.run_folder / "metrics.jsonl").write_text(text)

    def test_table_and_first_times(self):
        self.write(records())
        out = self.curve(self.run_folder, "--at", "38,39,40").stdout.splitlines()
        self.assertEqual(
            out,
            [
                "| step | epoch | minutes | valid_loss | bleu |",
                "| --- | --- | --- | --- | --- |",
                "| 2 | 0 | 2.0 | 1 | 30 |",
                "| 3 | 0 | 3.5 | 0.6667 | 38.5 |",
                "| 6 | 1 | 7.0 | 0.3333 | 39.25 |",
                "bleu 38: step 3, 3.5 minutes",
                "bleu 39: step 6, 7.0 minutes",
                "bleu 40: not reached",
            ],
        )
        out = self.curve(self.run_folder / "metrics.jsonl", "--every", 2).stdout.splitlines()
        self.assertEqual([row.split()[1] for row in out[2:]], ["3", "6"])

    def test_errors_are_one_line(self):
        self.write(one for one in records() if one.get("metric") != "bleu")
        for words, code in (
            ((self.run_folder, "--at", "38"), 3),
            ((self.run_folder / "none",), 3),
            ((self.run_folder, "--at", "high"), 2),
            ((self.run_folder, "--every", "0"), 2),
        ):
            with self.subTest(words):
                self.assertIn("error: ", self.curve(*words, code=code).stderr.splitlines()[-1])
        self.assertIn("usage: tools/score_curve.py", self.curve("--help").stdout)


if __name__ == "__main__":
    unittest.main()
