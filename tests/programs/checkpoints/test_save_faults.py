#!/usr/bin/env python3
"""A full disk, a folder that can't be written, a writer that fails on one rank, another model: one
message, code 5, and every checkpoint that was there is there."""

import ctypes
import os
import re
import shutil
import subprocess

import th_run

CLONE_NEWNS = 0x20000


def private_mounts():
    """Gives this process mounts of its own; false where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    return (
        os.geteuid() == 0
        and libc.unshare(CLONE_NEWNS) == 0
        and subprocess.run(["mount", "--make-rprivate", "/"], check=False).returncode == 0
    )


MOUNTS = private_mounts()


class Faults(th_run.SharedRunTest):
    """A run that stands at step 3 with one checkpoint; each test spoils the next save."""

    def train_once(self):
        self.train(ranks=2, train__max_steps=3)

    def setUp(self):
        super().setUp()
        self.checkpoints_folder = self.folder / "out" / "checkpoints"

    def mount(self, *arguments):
        """At checkpoints/; what was there is copied into it where it is empty."""
        if not MOUNTS:
            self.skipTest("mounting needs root and a mount namespace")
        kept = self.folder / "kept"
        shutil.copytree(self.checkpoints_folder, kept)
        done = subprocess.run(
            ["mount", *arguments, self.checkpoints_folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            self.skipTest(f"mount {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-q", self.checkpoints_folder], check=False)
        if not any(self.checkpoints_folder.iterdir()):
            shutil.copytree(kept, self.checkpoints_folder, dirs_exist_ok=True)

    def fail_to_save(self, *patterns, ranks=0, **keys):
        before = th_run.tree(self.checkpoints_folder)
        before.pop("final", None)  # of an end that is gone on from
        result = self.train(
            ranks=ranks, train__max_steps=5, checkpoint__resume="latest", code=5, **keys
        )
        self.assert_one_message(result, "error", *patterns)
        after = th_run.tree(self.checkpoints_folder)
        after.pop("final", None)
        self.assertEqual(after, before, "the checkpoints are not what they were")

    def assert_goes_on(self):
        self.train(train__max_steps=5, checkpoint__resume="latest")
        self.train_once_for_all(train__max_steps=5)
        self.assert_same_run("out", "whole")

    def bytes_of_a_checkpoint(self):
        return sum(len(data) for data in th_run.tree(self.latest()).values())

    def test_too_little_free_space_is_seen_before_anything_is_written(self):
        size = self.bytes_of_a_checkpoint()
        self.mount("-t", "tmpfs", "-o", f"size={size + size // 2}", "tmpfs")
        self.fail_to_save(r"needs \d+ bytes", "free", re.escape(str(self.checkpoints_folder)))

    def test_disk_that_fills_up_while_it_is_written(self):
        # Room for the numbers, but not for the whole files: the check beforehand passes. Once
        # model.h5 does not fit, once a shard.
        size = self.bytes_of_a_checkpoint()
        shards = sum(path.stat().st_size for path in self.latest().glob("shard_*"))
        for background, more in (("false", 40960), ("true", -4096)):
            with self.subTest(background=background):
                self.mount("-t", "tmpfs", "-o", f"size={size + shards + more}", "tmpfs")
                self.fail_to_save(
                    "step 5 could not be saved",
                    "No space left on device",
                    ranks=2,
                    checkpoint__async=background,
                )
                subprocess.run(["umount", self.checkpoints_folder], check=True)
                shutil.rmtree(self.folder / "kept")
        self.assert_goes_on()

    def test_no_more_files_can_be_made(self):
        self.mount(
            "-t", "tmpfs", "-o", "nr_inodes=8", "tmpfs"
        )  # the mount itself, a folder, three files, latest; one for the new folder
        self.fail_to_save("No space left on device")

    def test_folder_that_is_read_only(self):
        self.mount("--bind", self.checkpoints_folder)
        subprocess.run(["mount", "-o", "remount,bind,ro", self.checkpoints_folder], check=True)
        self.fail_to_save("Read-only file system", re.escape(str(self.checkpoints_folder)))

    def test_writer_that_fails_on_one_rank_ends_the_run_on_all(self):
        for rank in (0, 1):
            self.environment["TH_FAIL_SAVE"] = f"7@{rank}"
            self.fail_to_save("step 5 could not be saved", "failure point 7", ranks=2)
        del self.environment["TH_FAIL_SAVE"]
        self.assert_goes_on()

    def test_point_that_is_no_number_is_refused(self):
        self.environment["TH_FAIL_SAVE"] = "soon"
        self.assert_one_message(
            self.train(train__max_steps=5, checkpoint__resume="latest", code=2),
            "TH_FAIL_SAVE",
        )

    def test_another_model_is_explained_tensor_by_tensor(self):
        result = self.train(
            train__max_steps=1,
            run__output_dir="fine",
            checkpoint__init_from="out",
            model__d_ff=96,
            code=5,
        )
        self.assert_one_message(
            result,
            r"encoder.layers.0.linear1.weight: \[128, 64\] in the checkpoint, \[96, 64\] in the "
            r"model",
        )
        self.assert_one_message(
            result,
            r"decoder.layers.0.linear2.weight: \[64, 128\] in the checkpoint, \[64, 96\] in the "
            r"model",
        )
        self.assertNotIn("self_attn", result.out + result.err)
        result = self.train(
            train__max_steps=1,
            run__output_dir="fine",
            checkpoint__init_from="out",
            model__num_encoder_layers=2,
            code=5,
        )
        self.assert_one_message(
            result, r"encoder.layers.1.linear1.bias: \[128\] in the model, not in the checkpoint"
        )


if __name__ == "__main__":
    th_run.main()
