#!/usr/bin/env python3
"""A signal or a time limit ends a run with a checkpoint and code 75; taken up again it is the run
that was never stopped."""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import th_run

STOPPED = 75
STEPS_OF_AN_EPOCH = 6


def ranks_below(launcher):
    """The process ids of the programs that an mpirun of this test started."""
    pids = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(
                line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line
            )
        except OSError:
            continue  # it ended meanwhile
        if fields["PPid"].strip() == str(launcher) and fields["Name"].strip() == "th_app":
            pids.append(int(status.parent.name))
    return pids


class StopSignal(th_run.ProgramTest):
    def stop(self, ranks, number, whom="launcher", **keys):
        """Starts a run of many steps, sends the signal after step 3, and returns the step of the
        checkpoint that it left."""
        process = self.start(ranks=ranks, train__epochs=500, **keys)
        self.wait_for_steps(process, 3)
        targets = [process.pid] if whom == "launcher" else ranks_below(process.pid)
        self.assertEqual(len(targets), 1 if whom == "launcher" else ranks)
        for pid in targets[-1:] if whom == "last rank" else targets:
            os.kill(pid, number)
        code = process.wait(th_run.LIMIT_S)
        self.assertEqual(code, STOPPED, self.started_log())
        summary = self.metrics(kind="summary")
        self.assertEqual([record["exit"] for record in summary], ["stopped"])
        step = int(self.metrics(kind="step")[-1]["step"])
        self.assertEqual(self.latest().name, f"step_{step:08d}")
        self.assertIn(
            "every shard and checksum is right",
            self.program("th_inspect", "verify", self.latest()).out,
        )
        return step

    def assert_resumes(self, step, ranks=0, **keys):
        """Goes on for four steps, and compares with the beginning of an uninterrupted run."""
        end = step + 4
        resume = {"checkpoint__resume": "latest", "train__max_steps": end, **keys}
        self.train(ranks=ranks, train__epochs=500, **resume)
        # Most runs are stopped after a few steps, so that one of forty serves all tests.
        self.train_once_for_all(train__epochs=500, train__max_steps=max(40, end))
        steps, epochs = self.bits("whole")
        self.assertEqual(self.bits("out"), (steps[:end], epochs[: end // STEPS_OF_AN_EPOCH]))
        self.assertEqual(self.metrics(kind="summary")[0]["exit"], "completed")

    def test_usr1_to_mpirun_as_slurm_sends_it(self):
        self.assert_resumes(self.stop(3, signal.SIGUSR1), ranks=2, zero__stage=3)

    def test_usr1_to_one_rank_is_told_to_all(self):
        self.assert_resumes(self.stop(3, signal.SIGUSR1, whom="last rank"))

    def test_term_to_one_process_without_mpirun(self):
        self.assert_resumes(self.stop(0, signal.SIGTERM))

    def test_interrupt_from_the_keyboard_without_mpirun(self):
        self.stop(0, signal.SIGINT)

    def assert_reason(self, step, name):
        log = (self.folder / "out" / "run.log").read_text()
        self.assertIn(f"Stopping after step {step}: {name} was received.", log)

    def test_hangup_stops_too_and_the_log_says_why(self):
        self.assert_reason(self.stop(0, signal.SIGHUP), "SIGHUP")

    def test_the_soft_cpu_limit_stops_too(self):
        self.assert_reason(self.stop(0, signal.SIGXCPU), "SIGXCPU")

    def interrupted(self, phase, ranks, number=signal.SIGTERM, **keys):
        """Sends the signal when run.log or the terminal has told of `phase`; expects code 75."""
        process = self.start(ranks=ranks, **keys)
        end = time.monotonic() + th_run.LIMIT_S
        while phase not in self.started_log():
            self.assertIsNone(process.poll(), self.started_log())
            self.assertLess(time.monotonic(), end, self.started_log())
            time.sleep(0.005)
        for pid in ranks_below(process.pid) if ranks else [process.pid]:
            os.kill(pid, number)
        sent = time.monotonic()
        self.assertEqual(process.wait(th_run.LIMIT_S), STOPPED, self.started_log())
        self.assertLess(time.monotonic() - sent, 10)
        self.assertIn(f"{signal.Signals(number).name} was received", self.started_log())

    def test_a_stop_in_the_test_set_is_seen_between_batches_and_a_resume_translates_it(self):
        for part in ("en", "fr"):
            lines = (self.folder / f"valid.{part}").read_text()
            (self.folder / f"long.{part}").write_text(lines * 40)
        keys = {
            "train__max_steps": 6,
            "data__test_source": "long.en",
            "data__test_target": "long.fr",
            "decode__beam": 6,
        }
        self.interrupted("Epoch 0", 2, **keys)
        self.assertFalse((self.folder / "out" / "test.hyp").exists())
        self.train(checkpoint__resume="latest", **keys)
        self.train(run__output_dir="whole", **keys)
        self.assertEqual(
            (self.folder / "out" / "test.hyp").read_text(),
            (self.folder / "whole" / "test.hyp").read_text(),
        )
        self.assert_same_run("out", "whole")

    def test_a_stop_in_validation_loses_neither_the_epoch_nor_its_record(self):
        for part in ("en", "fr"):
            lines = (self.folder / f"valid.{part}").read_text()
            (self.folder / f"valid.{part}").write_text(lines * 20)
        keys = {"train__epochs": 2, "valid__metrics": "loss,bleu", "decode__beam": 6}
        process = self.start(ranks=2, **keys)
        self.wait_for_steps(process, 6)
        time.sleep(0.1)
        for pid in ranks_below(process.pid):
            os.kill(pid, signal.SIGTERM)
        self.assertEqual(process.wait(th_run.LIMIT_S), STOPPED, self.started_log())
        self.assertEqual(self.metrics(kind="epoch"), [])
        self.assertEqual(self.latest().name, "step_00000006")
        self.train(ranks=2, zero__stage=3, checkpoint__resume="latest", **keys)
        self.train(run__output_dir="whole", **keys)
        self.assert_same_run("out", "whole")
        self.assertEqual(
            [r for r in self.metrics("out", "eval")], [r for r in self.metrics("whole", "eval")]
        )

    def test_a_stop_file_stops_and_the_run_goes_on_without_it(self):
        process = self.start(ranks=2, train__epochs=500, run__stop_file="stop")
        self.wait_for_steps(process, 3)
        (self.folder / "stop").touch()
        self.assertEqual(process.wait(th_run.LIMIT_S), STOPPED, self.started_log())
        why = r"Stopping after step \d+: the stop file .*stop is there"
        self.assertRegex(self.started_log(), why)
        (self.folder / "stop").unlink()
        self.assert_resumes(int(self.metrics(kind="step")[-1]["step"]))

    def test_an_end_of_the_past_does_not_stop(self):
        self.environment["SLURM_JOB_END_TIME"] = str(int(time.time()) - 86400)
        run = self.train(train__max_steps=3)
        self.assert_one_message(run, r"SLURM_JOB_END_TIME is past")

    def test_a_file_beyond_its_limit_is_a_checkpoint_that_can_not_be_written(self):
        train = self.shell_train(train__max_steps=4, model__d_model=256, model__d_ff=1024)
        command = f"ulimit -f 6000; exec {train}"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=th_run.LIMIT_S,
        )
        self.assertEqual(done.returncode, 5, done.stdout + done.stderr)
        self.assertIn("File too large", done.stdout + done.stderr)

    def shell_train(self, **keys):
        words = self.command("th_app", [th_run.DECK, *self.overrides(keys)], 0)
        return " ".join(shlex.quote(word) for word in words)

    def test_usr2_saves_and_goes_on(self):
        keys = {"checkpoint__every_epochs": 1000}
        process = self.start(ranks=2, train__epochs=500, **keys)
        self.wait_for_steps(process, 3)
        process.send_signal(signal.SIGUSR2)
        self.wait_for_steps(process, len(self.metrics(kind="step")) + 40)
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.wait(th_run.LIMIT_S), STOPPED, self.started_log())
        self.assertEqual(len(self.checkpoints()), 2, "one for USR2, one for USR1")

    def test_time_limit_stops_after_each_step_until_the_run_is_complete(self):
        keys = {"train__max_steps": 3, "run__max_minutes": 1e-6}
        self.train(ranks=2, code=STOPPED, **keys)
        self.train(code=STOPPED, checkpoint__resume="latest", **keys)
        self.train(ranks=2, code=STOPPED, zero__stage=3, checkpoint__resume="latest", **keys)
        self.train(checkpoint__resume="latest", **keys)  # its validation
        self.train_once_for_all(train__max_steps=3)
        self.assert_same_run("out", "whole")

    def test_stopped_run_without_planned_checkpoints_still_leaves_one(self):
        keys = {"train__max_steps": 3, "checkpoint__every_epochs": 0}
        self.train(code=STOPPED, run__max_minutes=1e-6, **keys)
        self.assertEqual(self.checkpoints(), ["step_00000001"])
        self.train(checkpoint__resume="latest", **keys)
        self.train_once_for_all(train__max_steps=3)
        self.assert_same_run("out", "whole")


if __name__ == "__main__":
    th_run.main()
