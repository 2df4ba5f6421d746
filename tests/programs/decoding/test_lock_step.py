#!/usr/bin/env python3
"""Stage 3 decodes in lock step: test.hyp, scores and validation are stage 0's at every rank count,
what it takes is planned, a signal ends it with a checkpoint, and auto chooses it where all
parameters on every rank would not fit."""

import os
import re
import signal
import time

import th_run

STOPPED = 75
TEST = {"data__test_source": "valid.en", "data__test_target": "valid.fr"}
BEAM = {"decode__beam": 3, "decode__length_penalty": 0.6, "decode__max_length": 20}
SHARDED = {"zero__stage": 3, "decode__sharded": "on"}


class LockStep(th_run.ProgramTest):
    def found(self, run):
        """The translations and scores of a run."""
        evals = [(r["set"], r["metric"], r["value"]) for r in self.metrics(run, "eval")]
        return (self.folder / run / "test.hyp").read_text(), evals

    def log(self, run):
        return (self.folder / run / "run.log").read_text()

    def test_all_texts_and_scores_are_those_of_stage_0(self):
        keys = {**TEST, **BEAM, "valid__metrics": "loss,bleu,chrf", "train__max_steps": 30}
        self.train(ranks=1, run__output_dir="whole", **keys)
        expected = self.found("whole")
        self.assertEqual(len(expected[0].splitlines()), 40)
        self.assertGreater(len(set(expected[0].splitlines())), 1)
        # Four batches: of five ranks one has none, of three two have none in the last round. The
        # other counts are those of mpi.lock_step.
        for ranks in (3, 5):
            run = f"np{ranks}"
            self.train(ranks=ranks, run__output_dir=run, **SHARDED, **keys)
            self.assertEqual(self.found(run), expected, run)
            self.assertIn("Stage 3 decodes in lock step, parameters sharded", self.log(run))

    def test_greedy_decoding_too_and_beside_communication(self):
        keys = {**TEST, "decode__max_length": 15, "train__max_steps": 20}
        self.train(run__output_dir="whole", **keys)
        for run, more in (
            ("ahead", {"comm__overlap": "on", "zero__prefetch_units": 2}),
            ("tied", {"model__tie_embeddings": "decoder"}),
        ):
            if run == "tied":
                self.train(run__output_dir="whole", **more, **keys)
            self.train(ranks=2, run__output_dir=run, **SHARDED, **more, **keys)
            self.assertEqual(self.found(run), self.found("whole"), run)

    def summary(self, run):
        return self.metrics(run, "summary")[0]

    def bytes_of(self, run, name):
        return [int(number) for number in self.summary(run)[name]]

    def test_its_memory_is_planned_and_auto_chooses_it_where_it_must(self):
        # Parameters outweigh the activations of these small batches.
        keys = {
            **TEST,
            "zero__stage": 3,
            "model__d_ff": 4096,
            "model__num_decoder_layers": 3,
            "data__batch_size": 2,
            "decode__max_length": 8,
            "train__max_steps": 2,
            "checkpoint__async": "false",
        }
        self.train(ranks=2, run__output_dir="on", decode__sharded="on", **keys)
        self.train(ranks=2, run__output_dir="off", decode__sharded="off", **keys)
        self.assertEqual(self.found("on"), self.found("off"))
        for run in ("on", "off"):
            for planned, measured in zip(
                self.bytes_of(run, "planned_bytes"), self.bytes_of(run, "measured_bytes")
            ):
                self.assertAlmostEqual(measured / planned, 1, delta=0.02, msg=run)
        sharded = max(self.bytes_of("on", "measured_bytes"))
        whole = max(self.bytes_of("off", "measured_bytes"))
        self.assertLess(sharded, 0.8 * whole)
        self.environment["TH_FAKE_AVAILABLE_MEMORY"] = str(sharded + whole)
        self.train(ranks=2, run__output_dir="tight", **keys)
        self.assertEqual(self.found("tight"), self.found("off"))
        self.assertRegex(self.log("tight"), r"Stage 3 decodes in lock step.*auto: with all of them")
        tight = max(self.bytes_of("tight", "measured_bytes"))
        self.assertAlmostEqual(tight / sharded, 1, delta=0.02)
        self.environment["TH_FAKE_AVAILABLE_MEMORY"] = str(2 * (sharded + whole))
        self.train(ranks=2, run__output_dir="roomy", **keys)
        self.assertRegex(self.log("roomy"), r"Stage 3 decodes with all parameters.*auto: they fit")

    def test_the_plan_tells_what_it_saves(self):
        keys = {"model__d_ff": 2048, "train__micro_batches": 16, "decode__max_length": 100}
        words = [*self.overrides({**TEST, **keys, "zero__stage": 3}), "--plan", "plan.ranks=16"]

        def peaks(text):
            rows = {line.split("  ")[0].strip(): line for line in text.splitlines()}
            return float(rows["total"].split()[-1]), rows["reached in"].split()[-1]

        text = self.program("th_app", th_run.DECK, *words).out
        whole, phase = peaks(text)
        self.assertIn(phase, ("decoding", "gathering"))
        said = re.search(r"(?m)^  decode.sharded=on +([0-9.]+) \(reached in (\w+)\)$", text)
        text = self.program("th_app", th_run.DECK, *words, "decode.sharded=on").out
        sharded, phase = peaks(text)
        self.assertEqual(phase, "training", "decoding is no peak of its own")
        self.assertEqual((float(said[1]), said[2]), (sharded, phase))
        decoding = float(re.search(r"(?m)^  its decoding +([0-9.]+)$", text)[1])
        self.assertLessEqual(decoding, sharded)
        self.assertLess(sharded, 0.8 * whole)

    def test_without_effect_it_is_a_warning(self):
        for keys, why in (
            ({"zero__stage": 2, **TEST}, "zero.stage is not 3"),
            ({"zero__stage": 3}, "nothing is decoded"),
        ):
            result = self.program(
                "th_app",
                th_run.DECK,
                *self.overrides({**keys, "decode__sharded": "on"}),
                "--check",
            )
            self.assert_one_message(result, "decode.sharded has no effect: " + why)

    def test_a_signal_in_it_is_told_to_all_and_a_resume_translates(self):
        for part in ("en", "fr"):
            lines = (self.folder / f"valid.{part}").read_text()
            (self.folder / f"long.{part}").write_text(lines * 40)
        keys = {
            "train__max_steps": 6,
            "data__test_source": "long.en",
            "data__test_target": "long.fr",
            "decode__beam": 6,
        }
        process = self.start(ranks=2, **SHARDED, **keys)
        end = time.monotonic() + th_run.LIMIT_S
        while "Epoch 0" not in self.started_log():
            self.assertIsNone(process.poll(), self.started_log())
            self.assertLess(time.monotonic(), end, self.started_log())
            time.sleep(0.005)
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGUSR1)  # as Slurm sends it
        self.assertEqual(process.wait(th_run.LIMIT_S), STOPPED, self.started_log())
        self.assertIn("SIGUSR1 was received", self.started_log())
        self.assertFalse((self.folder / "out" / "test.hyp").exists())
        self.train(ranks=2, checkpoint__resume="latest", **SHARDED, **keys)
        self.train(run__output_dir="whole", **keys)
        self.assertEqual(
            (self.folder / "out" / "test.hyp").read_text(),
            (self.folder / "whole" / "test.hyp").read_text(),
        )
        self.assert_same_run("out", "whole")


if __name__ == "__main__":
    th_run.main()
