#!/usr/bin/env python3
"""A step whose loss or gradients end the run is kept, and th_app --replay runs it again at other
rank counts and stages; what is no such file is one message."""

import json
import re

import th_run

BAD = {
    "optimizer__lr": "1e30",
    "schedule__name": "constant",
    "train__gradient_clip": 0,
    "train__max_steps": 20,
}


class Replay(th_run.SharedRunTest):
    def train_once(self):
        self.train(ranks=2, code=6, **BAD)

    def setUp(self):
        super().setUp()
        (self.file,) = (self.folder / "out").glob("bad_step_*.json")
        self.step = int(re.search(r"bad_step_(\d{8})", self.file.name)[1])

    def replay(self, *words, ranks=0, code=6):
        return self.program("th_app", "--replay", self.file, *words, ranks=ranks, code=code)

    def verdict(self, result):
        return re.search(r"(?m)^The step again: .*$", result.out)[0]

    def test_what_is_kept(self):
        records = self.metrics(kind="step")
        self.assertEqual(self.step, int(records[-1]["step"]), "the step that failed is the last")
        log = (self.folder / "out" / "run.log").read_text()
        self.assertRegex(log, rf"th_app --replay \S*/out/{self.file.name} runs it again")
        kept = json.loads(self.file.read_text())
        self.assertEqual((kept["step"], len(kept["slots"])), (self.step, 8))
        tokens = sum(sum(slot["target_lengths"]) for slot in kept["slots"])
        self.assertEqual(tokens, int(records[-1]["target_tokens"]))
        checkpoint = self.folder / "out" / kept["checkpoint"]
        self.program("th_inspect", "verify", checkpoint)
        seen = json.loads(self.program("th_inspect", "info", checkpoint, "--json").out)
        self.assertEqual(seen["step"], self.step - 1)

    def test_it_is_the_same_at_other_rank_counts_and_stages(self):
        alone = self.replay()
        self.assertEqual(len(re.findall(r"(?m)^Micro-batch \d: ", alone.out)), 8)
        for ranks, stage in ((2, 0), (3, 3)):
            again = self.replay(f"zero.stage={stage}", ranks=ranks)
            self.assertEqual(self.verdict(again), self.verdict(alone))
            self.assertEqual(
                re.findall(r"(?m)^Micro-batch .*$", again.out),
                re.findall(r"(?m)^Micro-batch .*$", alone.out),
            )

    def test_a_step_that_was_fine_is_the_same_bits_again(self):
        kept = json.loads(self.file.read_text())
        self.train(train__max_steps=self.step - 1, run__output_dir="fine")
        kept["checkpoint"] = f"../fine/checkpoints/step_{self.step - 1:08d}"
        self.train(train__max_steps=self.step, checkpoint__resume="latest", run__output_dir="fine")
        record = self.metrics("fine", "step")[-1]
        kept["loss"], kept["grad_norm"] = float(record["loss"]), float(record["grad_norm"])
        self.file.write_text(json.dumps(kept))
        verdict = self.verdict(self.replay(ranks=2, code=0))
        loss, was, norm, norm_was = re.findall(r"\d[\d.e+-]*\d", verdict)
        self.assertEqual((float(loss), float(norm)), (float(was), float(norm_was)))

    def test_what_is_no_such_file_is_one_message(self):
        text = self.file.read_text()
        for name, content, code, pattern in (
            ("empty.json", "", 3, "is no step that th_app has kept"),
            ("cut.json", text[: len(text) // 2], 3, "is no step that th_app has kept"),
            ("ids.json", text.replace('"source":[', '"source":[99999,', 1), 3, "numbers of ids"),
            ("moved.json", text, 5, "no complete checkpoint at .*bad/step_"),
        ):
            (self.folder / name).write_text(content)
            result = self.program("th_app", "--replay", name, ranks=2, code=code)
            self.assert_one_message(result, "error: ", pattern)
        self.assert_one_message(
            self.program("th_app", "--replay", "absent.json", code=3), "absent.json: can't be read"
        )
        few = self.program("th_app", "--replay", self.file, ranks=9, code=2)
        self.assert_one_message(few, "8 micro-batches for 9 ranks")

    def test_a_run_without_checkpoints_keeps_nothing(self):
        self.train(
            code=6,
            run__output_dir="bare",
            checkpoint__every_epochs=0,
            checkpoint__every_steps=0,
            **BAD,
        )
        self.assertEqual(list((self.folder / "bare").glob("bad*")), [])


if __name__ == "__main__":
    th_run.main()
