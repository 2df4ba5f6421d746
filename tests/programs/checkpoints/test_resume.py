#!/usr/bin/env python3
"""A run that is stopped and taken up again, at another rank count, stage and kind of recompute, is
the run that never stopped."""

import th_run

STEPS = 14  # two epochs of 6 steps and a third one's first 2


class Resume(th_run.ProgramTest):
    def reference(self, **keys):
        """The uninterrupted run, one process, in the folder `whole`."""
        self.train_once_for_all(train__max_steps=STEPS, zero__stage=0, **keys)
        steps, epochs = self.bits("whole")
        self.assertEqual([step["step"] for step in steps], [str(s) for s in range(1, STEPS + 1)])
        self.assertEqual([epoch["epoch"] for epoch in epochs], ["0", "1"])
        self.assertEqual(
            len({step["loss"] for step in steps}), STEPS, "losses that do not change prove nothing"
        )

    def test_chain_over_rank_counts_and_stages_is_one_run(self):
        self.reference()
        # Ends in mid-epoch each (4 of 6, 3 of 6, 5 of 6), so that the epoch's sums and the corpus
        # position go through the checkpoints.
        self.train(ranks=4, zero__stage=2, train__max_steps=4)
        self.train(
            ranks=3,
            zero__stage=3,
            train__max_steps=9,
            checkpoint__resume="latest",
            model__gradient_checkpointing="full",
        )
        self.train(
            ranks=2,
            zero__stage=1,
            train__max_steps=11,
            checkpoint__resume="latest",
            checkpoint__every_steps=5,
        )
        self.train(zero__stage=0, train__max_steps=STEPS, checkpoint__resume="latest")
        self.assert_same_run("out", "whole")
        self.assert_same_checkpoint("out", "whole")
        self.assertEqual(
            len(self.metrics(kind="summary")), 1, "the summaries of the earlier links are dropped"
        )
        self.assertEqual(self.metrics(kind="summary")[0]["steps"], str(STEPS))
        self.assertEqual(
            self.metrics(kind="eval"),
            self.metrics("whole", "eval"),
            "validation at the end of a link belongs to no whole run",
        )

    def test_max_steps_reached_before_is_a_finished_run(self):
        self.train(train__max_steps=4)
        before = (self.folder / "out" / "metrics.jsonl").read_bytes()
        self.train(train__max_steps=3, checkpoint__resume="latest")
        self.assertEqual((self.folder / "out" / "metrics.jsonl").read_bytes(), before)

    def test_earlier_checkpoint_goes_on_in_another_folder(self):
        self.reference(checkpoint__every_steps=5)
        self.assertIn("step_00000005", self.checkpoints("whole"))
        before = th_run.tree(self.folder / "whole")
        self.train(
            ranks=2,
            zero__stage=3,
            train__max_steps=STEPS,
            checkpoint__resume="whole/checkpoints/step_00000005",
        )
        steps, epochs = self.bits("out")
        whole_steps, whole_epochs = self.bits("whole")
        self.assertEqual(steps, whole_steps[5:])
        self.assertEqual(epochs, whole_epochs, "epoch 0 has five of its six steps in the first run")
        self.assert_same_checkpoint("out", "whole")
        self.assertEqual(
            th_run.tree(self.folder / "whole"), before, "the first run's folder was touched"
        )

    def test_later_records_and_a_torn_line_are_dropped_first(self):
        self.reference()
        self.train(train__max_steps=13, checkpoint__every_steps=5)
        with open(self.folder / "out" / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write('{"kind":"step","step":14,"epoch":2,"lo')
        self.train(
            ranks=2,
            zero__stage=3,
            train__max_steps=7,
            checkpoint__resume="out/checkpoints/step_00000005",
        )
        self.assertEqual(
            self.bits("out")[0],
            self.bits("whole")[0][:7],
            "the records of steps 6 to 13 were not dropped",
        )
        self.assertEqual(
            (self.folder / "out" / "checkpoints" / "latest").read_text(), "step_00000007\n"
        )
        self.train(train__max_steps=STEPS, checkpoint__resume="latest")
        self.assert_same_run("out", "whole")

    def test_resume_at_an_epochs_end_keeps_the_epochs_record(self):
        self.reference()
        self.train(train__max_steps=6)
        self.assertEqual(len(self.metrics(kind="epoch")), 1)
        self.train(ranks=2, train__max_steps=STEPS, checkpoint__resume="latest")
        self.assert_same_run("out", "whole")

    def test_validation_between_epochs_is_recorded_once_across_a_resume(self):
        self.reference(train__valid_every_steps=5)
        self.train(train__max_steps=5, train__valid_every_steps=5)
        self.train(
            ranks=2, train__max_steps=STEPS, train__valid_every_steps=5, checkpoint__resume="latest"
        )
        self.assert_same_run("out", "whole")
        self.assertEqual(self.metrics(kind="eval"), self.metrics("whole", "eval"))

    def test_slots_are_the_rank_count_of_step_0_when_none_are_given(self):
        # train.micro_batches = 0 is resolved once and kept: 3 ranks, then 1, then 2.
        keys = {"train__micro_batches": 0, "data__batch_size": 20, "train__max_steps": 8}
        self.train(ranks=3, run__output_dir="whole", checkpoint__every_steps=3, **keys)
        third = "whole/checkpoints/step_00000003"
        self.train(checkpoint__resume=third, **{**keys, "train__max_steps": 5})
        self.train(ranks=2, checkpoint__resume="latest", **keys)
        steps, epochs = self.bits("out")
        whole_steps, whole_epochs = self.bits("whole")
        self.assertEqual((steps, epochs), (whole_steps[3:], whole_epochs))
        refused = self.train(
            ranks=4, checkpoint__resume="latest", code=2, **{**keys, "train__max_steps": 9}
        )
        self.assert_one_message(refused, "train.micro_batches", r"\b3\b", r"\b4\b")

    def test_a_learning_rate_that_jumps_is_told(self):
        keys = {"schedule__name": "cosine", "optimizer__lr": 0.005, "schedule__warmup_steps": 2}
        self.train(train__epochs=1, **keys)
        again = {"checkpoint__resume": "latest", "train__max_steps": 8, **keys}
        # By the checkpoint's deck the rate is 0 from step 6 on, by this one step 7 is on its way
        # from step 2 to step 12, half way down.
        run = self.train(train__epochs=2, **again)
        self.assert_one_message(
            run, "learning rate of step 7 is 0.0025 by this deck and 0 by", "step 12", "of 6 "
        )
        rate = float(self.metrics(kind="step")[6]["lr"])
        self.assertAlmostEqual(rate, 0.0025, places=12)

    def test_a_second_rate_of_muon_that_jumps_is_told(self):
        keys = {"optimizer__name": "muon", "schedule__name": "constant", "optimizer__lr": 0.02}
        self.train(train__max_steps=2, optimizer__adam_lr=0.001, **keys)
        run = self.train(train__max_steps=3, checkpoint__resume="latest", **keys)
        self.assert_one_message(
            run, r"AdamW .*adam_lr\) is 0\.02 in step 3 by this deck and 0\.001 by the checkpoint's"
        )
        self.assertNotIn("learning rate of step", run.out + run.err)

    def test_a_learning_rate_that_goes_on_is_not_told(self):
        keys = {"schedule__name": "cosine", "optimizer__lr": 0.005, "schedule__warmup_steps": 2}
        self.train(train__max_steps=4, **keys)
        run = self.train(train__max_steps=8, checkpoint__resume="latest", **keys)
        self.assertNotIn("learning rate of step", run.out + run.err)

    def test_latest_without_a_checkpoint_starts_anew_and_says_so(self):
        self.train(train__max_steps=3, run__output_dir="whole")
        self.assert_one_message(
            self.train(train__max_steps=3, checkpoint__resume="latest"),
            "no checkpoint .*starts anew",
        )
        self.assert_same_run("out", "whole")


if __name__ == "__main__":
    th_run.main()
