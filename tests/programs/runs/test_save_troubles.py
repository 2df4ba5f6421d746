#!/usr/bin/env python3
"""Saves that a signal asks for, that stand in the place of damaged ones, or have to make room."""

import signal

import th_run

NO_SAVES = {"checkpoint__every_epochs": 0, "checkpoint__every_steps": 0}


class Saves(th_run.ProgramTest):
    def test_a_checkpoint_asked_for_by_signal_is_there_at_the_end(self):
        process = self.start(ranks=2, train__epochs=500, train__max_steps=12, **NO_SAVES)
        self.wait_for_steps(process, 2)
        process.send_signal(signal.SIGUSR2)
        self.assertEqual(process.wait(th_run.LIMIT_S), 0, self.started_log())
        names = self.checkpoints()
        # mpirun passes the signal on to one rank after another: two borders may see it.
        self.assertIn(len(names), (1, 2), names)
        self.assertEqual(self.latest().name, names[-1])
        self.program("th_inspect", "verify", self.latest())

    def test_what_was_damaged_and_is_saved_anew_counts_again(self):
        keys = {"checkpoint__every_steps": 2, "checkpoint__keep_last": 2}
        self.train(train__max_steps=4, **keys)
        shard = next(self.latest().glob("shard*.h5"))
        shard.write_bytes(shard.read_bytes()[:-100])
        self.train(ranks=2, train__max_steps=8, checkpoint__resume="latest", **keys)
        self.assertEqual(self.checkpoints(), ["step_00000006", "step_00000008"])

    def test_a_lowered_keep_last_makes_room_first(self):
        keys = {"checkpoint__every_steps": 1}
        self.train(train__max_steps=4, **keys)
        process = self.start(
            ranks=2,
            train__max_steps=5,
            checkpoint__resume="latest",
            checkpoint__keep_last=1,
            **keys,
        )
        self.assertEqual(process.wait(th_run.LIMIT_S), 0, self.started_log())
        self.assertEqual(self.checkpoints(), ["step_00000005"])
        # At the next save's begin the one before it is all that is left; the failure comes before
        # the save is whole.
        self.train(train__max_steps=8, checkpoint__resume="latest", **keys)
        self.environment["TH_FAIL_SAVE"] = "3"  # behind the two old ones
        self.train(
            code=5, train__max_steps=9, checkpoint__resume="latest", checkpoint__keep_last=2, **keys
        )
        self.assertEqual(self.checkpoints(), ["step_00000007", "step_00000008"])


if __name__ == "__main__":
    th_run.main()
