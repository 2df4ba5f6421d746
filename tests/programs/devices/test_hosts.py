#!/usr/bin/env python3
"""Several hosts with a real network between them (tests/nodes/hosts.sh): the bits of one process,
the bytes that --plan counts, and two hosts that can't talk are named. Needs root and iproute2."""

import os
import shutil
import subprocess
import sys
import unittest

import th_run

HOSTS = th_run.SOURCE / "tests" / "nodes" / "hosts.sh"


def hosts(*words, **options):
    return subprocess.run(
        [str(HOSTS), *map(str, words)], capture_output=True, text=True, check=False, **options
    )


def reason_to_skip():
    if os.geteuid() != 0:
        return "hosts need root"
    if not (shutil.which("ip") and shutil.which("tc") and shutil.which("unshare")):
        return "hosts need iproute2 and util-linux"
    made = hosts("up", 3, "10gbit")
    if made.returncode != 0:
        hosts("down")
        return f"hosts can't be made here: {made.stderr.strip()}"
    return None


@th_run.open_mpi_alone
class Hosts(th_run.ProgramTest):
    def on_hosts(self, code=0, **keys):
        words = self.overrides({"train__max_steps": 4, "train__micro_batches": 6, **keys})
        done = hosts(
            "mpirun",
            1,
            th_run.BIN / "th_app",
            th_run.DECK,
            *words,
            cwd=self.folder,
            env=self.environment,
            timeout=th_run.LIMIT_S,
        )
        result = th_run.Result(words, done.returncode, done.stdout, done.stderr)
        self.assertEqual(result.code, code, result)
        return result

    def test_hosts_give_the_bits_of_one_process(self):
        self.train(train__max_steps=4, train__micro_batches=6, run__output_dir="alone")
        for stage in (0, 3):
            result = self.on_hosts(zero__stage=stage, run__output_dir=f"stage{stage}")
            self.assertRegex(result.out, r"(?m)^hosts +thhost0 \(rank 0\)")
            self.assert_same_run(f"stage{stage}", "alone")

    def test_two_hosts_that_cannot_talk_are_named(self):
        self.addCleanup(lambda: (hosts("down"), hosts("up", 3, "10gbit")))
        hosts("cut", 1, 2)
        self.environment["TH_LINK_SECONDS"] = "4"
        result = self.on_hosts(code=7)
        for rank, other in ((1, 2), (2, 1)):
            self.assertRegex(
                result.err,
                rf"(?m)^\[rank {rank} thhost{rank}\] error: broken launch: rank {rank} on "
                rf"thhost{rank} and rank {other} exchanged no message within 4 s.* Interfaces of "
                rf"this host: eth0 10\.78\.0\.{rank + 1}; MPI was told to use eth0\.",
            )


if __name__ == "__main__":
    reason = reason_to_skip()
    if reason is not None:
        print(f"skipped: {reason}")
        sys.exit(th_run.SKIP)
    unittest.addModuleCleanup(hosts, "down")
    th_run.main()
