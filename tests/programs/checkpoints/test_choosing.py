#!/usr/bin/env python3
"""Patience, the best checkpoints, their average, and what the run gives in the end."""

import hashlib

import th_run

# A script for valid.script: the nth call prints the nth of these values. The calls are counted in a
# file, so that a run's validations have the values that a test wants.
SCRIPT = """#!/bin/sh
n=$(cat {count} 2>/dev/null || echo 0)
n=$((n + 1))
echo $n > {count}
set -- {values}
shift $((n - 1))
echo $1
"""
KEYS = {
    "train__valid_every_steps": 2,
    "valid__best_metric": "script",
    "decode__max_length": 3,
    "checkpoint__every_epochs": 0,
}


class Choosing(th_run.ProgramTest):
    def script(self, *values):
        path, count = self.folder / "score.sh", self.folder / "count"
        count.unlink(missing_ok=True)
        path.write_text(SCRIPT.format(count=count, values=" ".join(map(str, values))))
        path.chmod(0o755)
        return path

    def names(self, file, run="out"):
        path = self.folder / run / "checkpoints" / file
        return path.read_text() if path.exists() else None

    def steps(self, run="out"):
        return [name for name in self.checkpoints(run) if not name.startswith("mean")]

    def parameters(self, checkpoint):
        """A hash of all parameters, by th_inspect's statistics and values."""
        out = self.program("th_inspect", "stat", checkpoint, "--json").out
        return hashlib.sha256(out.encode()).hexdigest()

    def test_patience_ends_the_run_as_complete(self):
        script = self.script(1, 3, 2, 3, 2.5, 9, 9)
        keys = {
            **KEYS,
            "valid__script": script,
            "valid__patience": 3,
            "checkpoint__keep_best": 1,
            "checkpoint__every_steps": 3,
            "checkpoint__keep_last": 1,
        }
        result = self.train(ranks=2, **keys)
        # The best is step 4; 6, 8 and 10 are not better (8 is as good).
        self.assertEqual(self.metrics()[-1]["exit"], "completed")
        self.assertEqual(self.metrics()[-1]["reason"], "patience")
        self.assertEqual(self.metrics()[-1]["steps"], "10")
        self.assertEqual(self.names("latest"), "step_00000010\n")
        self.assertEqual(self.names("best"), "step_00000004\n")
        self.assertEqual(self.names("final"), "step_00000004\n")
        self.assertEqual(self.steps(), ["step_00000004", "step_00000010"])
        self.assertRegex(
            result.out, "Step 10: no better script for 3 validations.*patience is over"
        )
        self.assertRegex(result.out, r"The run gives step_00000004, the best: script 3\.0000")
        before = self.metrics()
        result = self.train(checkpoint__resume="latest", **keys)
        self.assert_one_message(result, "complete at step 10; nothing to do")
        self.assertEqual(self.metrics(), before)
        # More patience goes on where it ended.
        keys["valid__patience"] = 4
        self.train(checkpoint__resume="latest", train__max_steps=12, **keys)
        self.assertEqual(self.metrics()[-1]["steps"], "12")
        self.assertEqual(self.names("best"), "step_00000012\n")

    def test_a_resume_goes_on_as_if_there_had_been_no_stop(self):
        values = (5, 4, 3, 4, 2, 1.5, 1.5, 1.4, 1.4, 1.3, 9, 9, 9)
        keys = {
            **KEYS,
            "valid__patience": 2,
            "valid__script_better": "lower",
            "checkpoint__keep_best": 2,
            "checkpoint__every_steps": 1,
            "checkpoint__keep_last": 1,
            "train__epochs": 9,
        }
        self.train(run__output_dir="whole", valid__script=self.script(*values), **keys)
        script = self.script(*values)
        for ranks, last in ((3, 5), (0, 8), (2, 13)):
            self.train(
                ranks=ranks,
                train__max_steps=last,
                checkpoint__resume="latest",
                valid__script=script,
                **{**keys, "train__valid_every_steps": 2},
            )
            # The validation that an end makes beside the others is not the whole run's.
            if last % 2:
                count = self.folder / "count"
                count.write_text(str(int(count.read_text()) - 1))
        self.train(checkpoint__resume="latest", valid__script=script, **keys)
        self.assert_same_run("out", "whole")
        self.assertEqual(self.metrics()[-1]["reason"], "patience")
        for file in ("latest", "best", "final"):
            self.assertEqual(self.names(file), self.names(file, "whole"), file)
        self.assertEqual(self.steps(), self.steps("whole"))
        self.assert_same_checkpoint("out", "whole")

    def test_keep_best_alone_keeps_no_other(self):
        script = self.script(1, 2, 5, 3, 4, 0, 0)
        self.train(
            train__max_steps=12,
            valid__script=script,
            checkpoint__keep_best=2,
            **{**KEYS, "checkpoint__async": "false"},
        )
        self.assertEqual(self.steps(), ["step_00000006", "step_00000010"])
        self.assertEqual(self.names("best"), "step_00000006\n")
        self.assertEqual(self.names("final"), "step_00000006\n")

    def test_the_best_survives_keep_last(self):
        script = self.script(9, 1, 2, 3, 4, 5)
        self.train(
            train__max_steps=12,
            valid__script=script,
            checkpoint__keep_best=1,
            checkpoint__every_steps=2,
            checkpoint__keep_last=2,
            **KEYS,
        )
        self.assertEqual(self.steps(), ["step_00000002", "step_00000010", "step_00000012"])
        self.assertEqual(self.names("best"), "step_00000002\n")

    def average(self, run, ranks, **keys):
        return self.train(
            ranks=ranks,
            train__max_steps=8,
            checkpoint__every_steps=2,
            checkpoint__average_last=3,
            checkpoint__keep_last=1,
            data__test_source="valid.en",
            data__test_target="valid.fr",
            decode__max_length=8,
            run__output_dir=run,
            **keys,
        )

    def test_the_average_is_th_inspects_at_every_rank_count(self):
        result = self.average("out", 3, zero__stage=2)
        self.assertEqual(self.names("final"), "mean_00000008\n")
        kept = ["step_00000004", "step_00000006", "step_00000008"]
        self.assertEqual(self.steps(), kept)
        self.assertRegex(result.out, "The run gives mean_00000008, an average of 3 checkpoints")
        folders = [f"out/checkpoints/{name}" for name in kept]
        self.program("th_inspect", "average", *folders, "--output", "mean")
        self.program("th_inspect", "verify", "out/checkpoints/final")
        self.program("th_inspect", "diff", "mean", "out/checkpoints/mean_00000008")
        for ranks, stage in ((0, 0), (2, 3)):
            run = f"np{ranks}"
            self.average(run, ranks, zero__stage=stage)
            self.program("th_inspect", "diff", "mean", f"{run}/checkpoints/final")
            self.assertEqual(self.metrics(run, "eval"), self.metrics("out", "eval"))

    def test_the_test_set_is_translated_by_what_was_chosen(self):
        self.average("out", 0)
        lines = (self.folder / "out" / "test.hyp").read_text()
        words = ("--input", "valid.en", "--max-length", "8")
        for name in ("out", "out/checkpoints", "out/checkpoints/final", "out/final"):
            result = self.program("th_translate", name, *words)
            self.assertEqual(result.out, lines, name)
            self.assertIn("mean_00000008", result.err)
        newest = self.program("th_translate", "out/checkpoints/latest", *words)
        self.assertIn("step_00000008", newest.err)
        self.assertNotEqual(newest.out, lines)
        # The state that goes on is the newest's, not the mean's.
        self.assertEqual(
            self.parameters("out/checkpoints/step_00000008"), self.parameters(self.whole())
        )

    def whole(self):
        self.train(train__max_steps=8, run__output_dir="whole")
        return "whole/checkpoints/step_00000008"

    def test_an_end_that_goes_on_has_no_final_until_it_ends_again(self):
        self.train(train__max_steps=4, checkpoint__every_steps=2)
        self.assertEqual(self.names("final"), "step_00000004\n")
        self.train(
            train__max_steps=8,
            checkpoint__every_steps=2,
            run__max_minutes=1e-6,
            checkpoint__resume="latest",
            code=75,
        )
        self.assertEqual(self.names("final"), None)
        self.train(train__max_steps=8, checkpoint__every_steps=2, checkpoint__resume="latest")
        self.assertEqual(self.names("final"), "step_00000008\n")

    def test_fewer_checkpoints_than_asked_for_are_a_warning(self):
        result = self.train(
            train__max_steps=2, checkpoint__every_steps=2, checkpoint__average_last=4
        )
        self.assert_one_message(result, "average_last = 4", "there are 1 checkpoints")
        self.assertEqual(self.names("final"), "mean_00000002\n")

    def test_a_name_of_nothing_is_one_message(self):
        self.train(train__max_steps=2, checkpoint__every_steps=2)
        (self.folder / "out" / "checkpoints" / "best").write_text("step_00000099\n")
        for words in (
            ("th_translate", "out/checkpoints/best"),
            ("th_inspect", "ls", "out/checkpoints/best"),
        ):
            self.assert_one_message(
                self.program(*words, code=5, text=""), "best names 'step_00000099'"
            )

    def test_the_mean_of_ema_parameters_is_decoded_where_the_deck_asks(self):
        keys = {"train__ema_decay": 0.9, "decode__parameters": "ema"}
        self.average("out", 0, **keys)
        lines = (self.folder / "out" / "test.hyp").read_text()
        words = ("--input", "valid.en", "--max-length", "8", "--parameters", "ema")
        self.assertEqual(self.program("th_translate", "out", *words).out, lines)

    def test_another_metric_forgets_the_best(self):
        keys = {**KEYS, "checkpoint__every_steps": 2, "checkpoint__keep_best": 1}
        self.train(train__max_steps=4, valid__script=self.script(5, 1, 1), **keys)
        self.assertEqual(self.names("best"), "step_00000002\n")
        keys["valid__best_metric"] = "loss"
        result = self.train(train__max_steps=6, checkpoint__resume="latest", **keys)
        self.assert_one_message(
            result, "begins with none: valid.best_metric was script and is loss"
        )
        self.assertEqual(self.names("best"), "step_00000006\n")


if __name__ == "__main__":
    th_run.main()
