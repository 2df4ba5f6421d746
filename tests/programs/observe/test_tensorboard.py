#!/usr/bin/env python3
"""TensorBoard's own reader finds in the event files what metrics.jsonl holds."""

import th_run

th_run.use_python_with("tensorboard.backend.event_processing.event_accumulator", "numpy")
import numpy  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402


class Tensorboard(th_run.ProgramTest):
    def points(self, run="out"):
        """{tag: [(step, value)…]}"""
        events = EventAccumulator(
            str(self.folder / run / "tensorboard"), size_guidance={"scalars": 0}
        )
        events.Reload()
        return {
            tag: [(event.step, event.value) for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
        }

    def expected(self, run="out"):
        def single(value):
            return float(numpy.float32(value))  # event files hold float32

        steps = self.metrics(run, "step")
        series = {
            f"train/{key}": [(int(s["step"]), single(s[key])) for s in steps]
            for key in ("loss", "lr", "grad_norm")
        }
        series["train/tokens_per_second"] = [
            (
                int(s["step"]),
                single((int(s["source_tokens"]) + int(s["target_tokens"])) / float(s["seconds"])),
            )
            for s in steps
        ]
        last = {s["epoch"]: int(s["step"]) for s in steps}
        series["valid/loss"] = [
            (last[e["epoch"]], single(e["valid_loss"])) for e in self.metrics(run, "epoch")
        ]
        return series

    def test_every_step_and_epoch_is_a_point(self):
        self.train(ranks=2, train__epochs=2)
        self.assertEqual(len(self.metrics(kind="step")), 12)
        points, expected = self.points(), self.expected()
        self.assertEqual({tag: points[tag] for tag in expected}, expected)
        # What the clock and the system say of each step, and of validations and saves.
        steps = list(range(1, 13))
        for tag, at in (
            *((f"time/{phase}", steps) for phase in ("data", "compute", "communication")),
            *(("time/waiting", steps), ("time/communication_hidden", steps), ("memory/gib", steps)),
            *(("time/validation", [6, 12]), ("time/checkpoint", [6, 12])),
        ):
            self.assertEqual([step for step, _ in points.pop(tag)], at, tag)
        self.assertEqual(points.keys(), expected.keys())

    def test_seconds_of_the_phases_are_those_of_the_steps(self):
        self.train(ranks=2, train__max_steps=6)
        points = self.points()
        names = ("data", "compute", "communication", "waiting")
        phases = [[value for _, value in points[f"time/{name}"]] for name in names]
        self.assertTrue(all(value >= 0 for phase in phases for value in phase), phases)
        whole = sum(float(s["seconds"]) for s in self.metrics(kind="step"))
        # The phases are a mean over ranks, and begin a little before a step's own clock.
        self.assertAlmostEqual(sum(map(sum, phases)) / whole, 1, delta=0.3)
        self.assertTrue(all(0 < value < 100 for _, value in points["memory/gib"]))

    def test_loss_scale_of_fp16(self):
        self.train(train__max_steps=2, precision__dtype="fp16", precision__loss_scale=64)
        self.assertEqual(self.points()["train/loss_scale"], [(1, 64.0), (2, 64.0)])

    def test_the_deck_is_a_text(self):
        self.train(train__max_steps=1)
        events = EventAccumulator(str(self.folder / "out" / "tensorboard"))
        events.Reload()
        (event,) = events.Tensors("deck")
        text = event.tensor_proto.string_val[0].decode()
        resolved = (self.folder / "out" / "resolved.in").read_text()
        self.assertEqual(text, f"```\n{resolved}```\n")

    def test_validation_between_epochs_is_a_point_too(self):
        self.train(train__epochs=1, train__valid_every_steps=4)
        valid = [
            (4, float(numpy.float32(self.metrics(kind="eval")[0]["value"]))),
            *self.expected()["valid/loss"],
        ]
        self.assertEqual(self.points()["valid/loss"], valid)

    def test_a_resumed_run_has_one_point_a_step(self):
        self.train(train__max_steps=8, checkpoint__every_steps=3)
        self.train(train__epochs=2, checkpoint__resume="out/checkpoints/step_00000003")
        self.assertEqual([int(s["step"]) for s in self.metrics(kind="step")], list(range(1, 13)))
        points, expected = self.points(), self.expected()
        for tag in expected:
            self.assertEqual(points[tag], expected[tag], tag)

    def test_scores_and_samples_of_a_validation(self):
        self.train(
            train__max_steps=2,
            valid__metrics="bleu,chrf",
            monitor__sample_lines=2,
            decode__max_length=4,
        )
        evals = {r["metric"]: float(numpy.float32(r["value"])) for r in self.metrics(kind="eval")}
        for metric in ("bleu", "chrf"):
            self.assertEqual(self.points()[f"valid/{metric}"], [(2, evals[metric])])
        events = EventAccumulator(str(self.folder / "out" / "tensorboard"))
        events.Reload()
        self.assertIn(
            "valid/samples", events.summary_metadata.keys() & set(events.Tags()["tensors"])
        )
        self.assertEqual(events.PluginTagToContent("text").keys(), {"deck", "valid/samples"})
        (event,) = events.Tensors("valid/samples")
        text = event.tensor_proto.string_val[0].decode()
        self.assertEqual(event.step, 2)
        self.assertEqual(len(text.splitlines()), 4, text)
        source = (self.folder / "valid.en").read_text().splitlines()[0]
        self.assertIn(f"| {source} |", text)

    def test_scores_of_the_test_set(self):
        self.train(
            train__max_steps=2,
            data__test_source="valid.en",
            data__test_target="valid.fr",
            decode__max_length=4,
        )
        scores = {r["metric"]: r["value"] for r in self.metrics(kind="eval") if r["set"] == "test"}
        self.assertLessEqual({"bleu", "exact"}, scores.keys())
        points = self.points()
        for metric, value in scores.items():
            self.assertEqual(points[f"test/{metric}"], [(2, float(numpy.float32(value)))])
        self.assertEqual([step for step, _ in points["time/test"]], [2])

    def test_no_event_file_when_switched_off(self):
        self.train(train__max_steps=1, monitor__tensorboard="false")
        self.assertFalse((self.folder / "out" / "tensorboard").exists())


if __name__ == "__main__":
    th_run.main()
