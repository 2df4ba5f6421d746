#!/usr/bin/env python3
"""Runs that are refused, or have nothing to do, leave their folder as it is; texts that lose lines,
or have none."""

import signal

import th_run

TEST_SET = {
    "data__test_source": "valid.en",
    "data__test_target": "valid.fr",
    "decode__max_length": 8,
}


class Folders(th_run.ProgramTest):
    def test_a_run_that_is_refused_moves_nothing(self):
        self.train(ranks=2, train__max_steps=2)
        before = th_run.tree(self.folder)
        for ranks, code, keys in (
            (0, 2, {"zero__stage": 3, "zero__max_live_parameters": 5}),
            (2, 2, {"train__micro_batches": 1}),
            (0, 4, {"model__d_model": 1 << 20}),
            (0, 3, {"data__batch_size": 1000}),
        ):
            self.train(ranks=ranks, code=code, train__max_steps=3, **keys)
            self.assertEqual(th_run.tree(self.folder), before, keys)

    def test_a_finished_run_is_left_as_it_is(self):
        self.train(train__max_steps=2, **TEST_SET)
        before = th_run.tree(self.folder)
        self.assert_one_message(
            self.train(
                ranks=2, train__max_steps=2, zero__stage=3, checkpoint__resume="latest", **TEST_SET
            ),
            "complete at step 2",
        )
        self.assertEqual(th_run.tree(self.folder), before)

    def test_two_runs_in_one_folder(self):
        process = self.start(
            ranks=2, train__epochs=500, checkpoint__every_steps=3, checkpoint__keep_last=2
        )
        self.wait_for_steps(process, 4)
        for resume, ranks in (("none", 2), ("latest", 0)):
            refused = self.train(
                ranks=ranks,
                code=2,
                train__max_steps=5,
                checkpoint__resume=resume,
                comm__timeout_seconds=4,  # it waits half of that for the other one's end
            )
            self.assert_one_message(
                refused,
                "error: run.output_dir",
                "another run writes to .*out",
                r"process \d+ of this host",
            )
        self.wait_for_steps(process, len(self.metrics(kind="step")) + 8)
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.wait(th_run.LIMIT_S), 75, self.started_log())
        self.assertFalse((self.folder / "out.1").exists())
        self.program("th_inspect", "verify", self.latest())
        self.train(
            train__max_steps=int(self.metrics(kind="step")[-1]["step"]) + 1,
            train__epochs=500,
            checkpoint__resume="latest",
        )


class Texts(th_run.ProgramTest):
    def test_what_is_cut_or_lost_of_a_corpus_is_told(self):
        result = self.train(train__max_steps=1, data__max_length=4)
        self.assert_one_message(
            result,
            "warning: ",
            r"train.en.*: \d+ of 480 pairs .* data.max_length = 4 ids; it was cut",
        )
        self.assert_one_message(
            self.train(code=3, train__max_steps=1, data__min_freq=100000),
            "error: ",
            "train.en: no word occurs data.min_freq = 100000 times",
        )

    def test_parts_without_a_sentence(self):
        (self.folder / "empty.en").write_text("")
        (self.folder / "blank.en").write_text("\n\n")
        for part in ("valid", "test"):
            for name in ("empty.en", "blank.en"):
                keys = {
                    f"data__{part}_source": name,
                    f"data__{part}_target": name,
                    "data__empty_lines": "skip",
                }
                self.assert_one_message(
                    self.train(
                        ranks=2 if name == "empty.en" else 0, code=3, train__max_steps=2, **keys
                    ),
                    "error: ",
                    name,
                    "no sentence pairs",
                )


if __name__ == "__main__":
    th_run.main()
