#!/usr/bin/env python3
"""Resuming a finished run does nothing and ends with code 0; with more to do it goes on."""

import th_run


class Finished(th_run.ProgramTest):
    def assert_nothing_done(self, **keys):
        def kept():
            files = th_run.tree(self.folder / "out")
            return {
                name: data
                for name, data in files.items()
                if name.startswith(("checkpoints", "metrics.jsonl", "tensorboard", "test.hyp"))
            }

        before = kept()
        self.assert_one_message(self.train(checkpoint__resume="latest", **keys), "complete at step")
        self.assertEqual(kept(), before)
        self.assertFalse((self.folder / "out.1").exists())

    def test_run_to_its_last_epoch(self):
        keys = {
            "train__epochs": 1,
            "data__test_source": "valid.en",
            "data__test_target": "valid.fr",
            "decode__max_length": 8,
        }
        self.train(**keys)
        self.assertEqual(len((self.folder / "out" / "test.hyp").read_text().splitlines()), 40)
        self.assert_nothing_done(**keys)
        self.assert_nothing_done(ranks=3, zero__stage=3, **keys)

    def test_run_to_its_last_step(self):
        self.train(ranks=2, train__max_steps=8)
        self.assert_nothing_done(train__max_steps=8)

    def test_more_epochs_go_on_from_it(self):
        self.train(train__epochs=2, run__output_dir="whole")
        self.train(train__epochs=1)
        self.train(ranks=2, train__epochs=2, checkpoint__resume="latest")
        self.assert_same_run("out", "whole")
        self.assertEqual(self.metrics(kind="summary")[0]["exit"], "completed")
        self.assertEqual(self.metrics(kind="eval"), self.metrics("whole", "eval"))


if __name__ == "__main__":
    th_run.main()
