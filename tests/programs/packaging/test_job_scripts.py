#!/usr/bin/env python3
"""jobs/*.sbatch with stand-ins for srun and scontrol: what they take from Slurm's variables."""

import os
import subprocess
from pathlib import Path

import th_run

PROGRAMS = ("TRANSLATE", "SCORE")
STAND_INS = {
    "srun": '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nexec mpirun -np 2 "$@"\n',
    "scontrol": '#!/bin/bash\necho scontrol "$@"\n',
}


@th_run.open_mpi_alone
class JobScripts(th_run.ProgramTest):
    def setUp(self):
        super().setUp()
        (self.folder / "bin").mkdir()
        for name, text in STAND_INS.items():
            (self.folder / "bin" / name).write_text(text)
            (self.folder / "bin" / name).chmod(0o755)

    def job(self, script, *words, **variables):
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
        if not isinstance(script, Path):
            script = th_run.SOURCE / "jobs" / script
        words = words or self.overrides({"train.max_steps": 1})
        return subprocess.run(
            ["bash", str(script), *words],
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
            done = self.translate_job(*words, "--anew", LAUNCH=launch)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("2 ranks, 1 CPUs a rank", done.stdout)
            self.assertIn("40 lines, ", done.stderr)
            self.assertEqual((self.folder / "valid.out").read_text(), expected)
        again = self.translate_job(*words, "--anew", LAUNCH="mpirun", SLURM_RESTART_COUNT="1")
        self.assertEqual(again.returncode, 0, again.stdout + again.stderr)
        self.assertIn("wrote its 40 lines before", again.stderr)
        done = self.translate_job(self.latest(), "absent.en", "out.fr")
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertEqual(self.translate_job(self.latest()).returncode, 2)

    def test_an_array_is_a_run_for_each_seed(self):
        for task in ("3", "4"):
            done = self.job("single_node.sbatch", SLURM_NTASKS="2", SLURM_ARRAY_TASK_ID=task)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            resolved = (self.folder / "out" / f"seed_{task}" / "resolved.in").read_text()
            self.assertIn(f"\nseed = {task}  # command line\n", resolved)
        self.assertNotEqual(self.bits("out/seed_3"), self.bits("out/seed_4"))

    def test_bad_data_is_told_before_anything_starts(self):
        words = self.overrides({"train.max_steps": 1, "data.valid_target": "train.fr"})
        done = self.job("multi_node.sbatch", *words, SLURM_NTASKS="2")
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertIn("valid.en", done.stderr)
        self.assertIn("was refused, nothing was started", done.stderr)
        self.assertFalse((self.folder / "out").exists())

    def test_an_evaluation_translates_and_scores_what_the_run_gives(self):
        self.train(ranks=2, train__max_steps=2)
        words = ("out", "valid.en", "valid.fr", "--max-length", "5")
        programs = {f"TH_{name}": str(th_run.BIN / f"th_{name.lower()}") for name in PROGRAMS}
        for launch in ("srun --mpi=pmix", "mpirun"):
            done = self.job("evaluate.sbatch", *words, LAUNCH=launch, SLURM_NTASKS="2", **programs)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            lines = (self.folder / "out" / "valid.en.hyp").read_text()
            whole = self.program("th_translate", "out", "--input", "valid.en", "--max-length", "5")
            self.assertEqual(lines, whole.out)
            score = self.program(
                *("th_score", "--metric", "bleu,chrf,exact"),
                *("--input", "out/valid.en.hyp", "--target", "valid.fr"),
            )
            self.assertTrue(done.stdout.endswith(score.out), done.stdout)
            (self.folder / "out" / "valid.en.hyp").unlink()
        for words, code in ((("out", "valid.en"), 2), (("out", "none", "valid.fr"), 3)):
            self.assertEqual(self.job("evaluate.sbatch", *words).returncode, code)
        self.assertEqual(self.job("evaluate.sbatch", "none", "valid.en", "valid.fr").returncode, 5)

    def test_installed_scripts_find_the_installed_programs(self):
        jobs = self.folder / "share" / "jobs"
        jobs.mkdir(parents=True)
        for path in (th_run.SOURCE / "jobs").iterdir():
            text = path.read_text().replace("@TH_INSTALLED_BIN@", str(th_run.BIN))
            text = text.replace("@TH_INSTALLED_DATA@", str(self.folder / "share"))
            (jobs / path.name).write_text(text)
        script = self.folder / "spool.sh"  # Slurm runs a copy
        script.write_text((jobs / "single_node.sbatch").read_text())
        done = self.job(script, TH_APP="", SLURM_NTASKS="2")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"{th_run.BIN}/th_app", done.stdout)
        missing = self.job(script, TH_APP="/no/th_app")
        self.assertEqual(missing.returncode, 2)
        self.assertIn("no program /no/th_app (TH_APP names it)", missing.stderr)


if __name__ == "__main__":
    th_run.main()
