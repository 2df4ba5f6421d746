#!/usr/bin/env python3
"""A job that is killed by SIGKILL in the middle of a save goes on from a whole checkpoint, bit for
bit: at five points of the save, or, with --everywhere, at every one of them on both ranks."""

import shutil
import sys

import th_run

EVERYWHERE = "--everywhere" in sys.argv
if EVERYWHERE:
    sys.argv.remove("--everywhere")
RANKS = 2
# The smallest run: what is tested is the save. An epoch has 6 steps, saves are at 2 and 4.
KEYS = {
    "model__d_model": 16,
    "model__num_heads": 2,
    "model__d_ff": 16,
    "checkpoint__every_steps": 2,
    "checkpoint__keep_last": 1,
    "data__valid_source": "",
    "data__valid_target": "",
    "monitor__tensorboard": "false",
    "data__num_workers": 0,
}


class SaveKilled(th_run.ProgramTest):
    def setUp(self):
        super().setUp()
        self.train(run__output_dir="whole", train__max_steps=6, **KEYS)
        self.train(ranks=RANKS, run__output_dir="begun", train__max_steps=2, **KEYS)

    def kill_at(self, point, rank):
        """From step 2 on, killed at a point of the save of step 4; true when the save has so many
        points. Then goes on, and compares."""
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        shutil.copytree(self.folder / "begun", self.folder / "out")
        self.environment["TH_FAIL_SAVE"] = f"{point}:kill@{rank}"
        command = self.command(
            "th_app",
            [
                th_run.DECK,
                *self.overrides({**KEYS, "train__max_steps": 4, "checkpoint__resume": "latest"}),
            ],
            RANKS,
        )
        done = th_run.subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=th_run.LIMIT_S,
        )
        del self.environment["TH_FAIL_SAVE"]
        if done.returncode == 0:
            return False
        self.assertEqual(
            done.returncode, 128 + 9, f"point {point} of rank {rank}\n{done.stdout}{done.stderr}"
        )
        result = self.train(train__max_steps=6, checkpoint__resume="latest", **KEYS)
        self.assertRegex(result.out, r"Resumed \S+/step_0000000[24] at step [24] ")
        self.assertNotIn("damaged", result.out + result.err)
        self.assert_same_run("out", "whole")
        self.assert_same_checkpoint("out", "whole")
        self.assertEqual(
            self.checkpoints(), ["step_00000006"], "leftovers of the killed save are gone"
        )
        return True

    @th_run.unittest.skipIf(EVERYWHERE, "every point follows")
    def test_five_points(self):
        for point, rank in ((1, 0), (30, 1), (45, 0), (56, 0), (60, 0)):
            self.assertTrue(
                self.kill_at(point, rank), f"rank {rank} passes fewer than {point} points"
            )

    @th_run.unittest.skipUnless(EVERYWHERE, "takes minutes: label long")
    def test_every_point_of_both_ranks(self):
        points = 0
        for rank in range(RANKS):
            point = 1
            while self.kill_at(point, rank):
                point += 1
            points += point - 1
        print(f"killed at {points} points")
        self.assertGreaterEqual(points, 50)


if __name__ == "__main__":
    th_run.main()
