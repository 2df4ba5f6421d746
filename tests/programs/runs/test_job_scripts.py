#!/usr/bin/env python3
"""jobs/*.sbatch with stand-ins for srun and scontrol: what they take from Slurm's variables."""

import os
import subprocess

import th_run

STAND_INS = {
    "srun": '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nexec mpirun -np 2 "$@"\n',
    "scontrol": '#!/bin/bash\necho scontrol "$@"\n',
}


class JobScripts(th_run.ProgramTest):
    def setUp(self):
        super().setUp()
        (self.folder / "bin").mkdir()
        for name, text in STAND_INS.items():
            (self.folder / "bin" / name).write_text(text)
            (self.folder / "bin" / name).chmod(0o755)

    def job(self, script, **variables):
        environment = {
            **self.environment,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "DECK": str(th_run.DECK),
            "TH_APP": str(th_run.BIN / "th_app"),
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_JOB_NODELIST": "here",
            **variables,
        }
        return subprocess.run(
            ["bash", str(th_run.SOURCE / "jobs" / script), *self.overrides({"train.max_steps": 1})],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=th_run.LIMIT_S,
        )

    def test_ranks_are_reckoned_where_slurm_does_not_tell_them(self):
        cases = (
            ({"SLURM_NTASKS": "2"}, 2),
            ({"SLURM_NTASKS_PER_NODE": "2"}, 2),
            ({"SLURM_TASKS_PER_NODE": "2(x1)"}, 2),
            ({}, 1),
        )
        for number, (variables, ranks) in enumerate(cases):
            for script in ("single_node.sbatch", "multi_node.sbatch"):
                launch = "mpirun" if number % 2 else "srun --mpi=pmix"
                done = self.job(script, LAUNCH=launch, **variables)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertIn(f"{ranks} ranks, 1 CPUs a rank", done.stdout)

    def translate_job(self, *words, **variables):
        environment = {
            **self.environment,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "TH_TRANSLATE": str(th_run.BIN / "th_translate"),
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_JOB_NODELIST": "here",
            "SLURM_NTASKS": "2",
            **variables,
        }
        return subprocess.run(
            ["bash", str(th_run.SOURCE / "jobs" / "translate.sbatch"), *map(str, words)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=th_run.LIMIT_S,
        )

    def test_a_translation_is_dealt_to_the_ranks_of_a_job(self):
        self.train(train__max_steps=2)
        words = (self.latest(), "valid.en", "valid.out")
        expected = self.program("th_translate", self.latest(), "--input", "valid.en").out
        for launch in ("srun --mpi=pmix", "mpirun"):
            done = self.translate_job(*words, LAUNCH=launch)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("2 ranks, 1 CPUs a rank", done.stdout)
            self.assertEqual((self.folder / "valid.out").read_text(), expected)
        done = self.translate_job(self.latest(), "absent.en", "out.fr")
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertEqual(self.translate_job(self.latest()).returncode, 2)


if __name__ == "__main__":
    th_run.main()
