#!/usr/bin/env python3
"""run.output_dir: what th_app did not write stays where it is, and a folder knows its run."""

import json
import os

import th_run

th_run.use_python_with("h5py")
import h5py  # noqa: E402


class OutputFolder(th_run.ProgramTest):
    def run_of(self, run):
        return (self.folder / run / "run").read_text().strip()

    def attributes(self, run):
        """Root attributes `run` and `state` of the newest checkpoint's model.h5."""
        with h5py.File(self.latest(run) / "model.h5") as file:
            return {"run": file.attrs["run"], "state": json.loads(file.attrs["state"])}

    def test_users_files_stay(self):
        out = self.folder / "out"
        (out / "checkpoints").mkdir(parents=True)
        (out / "checkpoints" / "bert.ckpt").write_text("mine")
        (out / "thesis.tex").write_text("thesis")
        self.train(train__max_steps=1)
        self.train(train__max_steps=2)
        self.assertEqual((out / "checkpoints" / "bert.ckpt").read_text(), "mine")
        self.assertEqual((out / "thesis.tex").read_text(), "thesis")
        self.assertEqual(len(self.metrics("out.1", "step")), 1)
        self.assertTrue((self.folder / "out.1" / "checkpoints" / "step_00000001").is_dir())
        self.assertFalse((out / "checkpoints" / "step_00000001").exists())

    def test_a_users_file_in_the_way_ends_the_run(self):
        (self.folder / "out").mkdir()
        (self.folder / "out" / "metrics.jsonl").write_text("epoch loss\n")
        refused = self.train(code=2)
        self.assert_one_message(refused, r"holds metrics\.jsonl, which th_app did not write")
        self.assertEqual((self.folder / "out" / "metrics.jsonl").read_text(), "epoch loss\n")

    def test_a_link_is_followed(self):
        (self.folder / "scratch" / "exp").mkdir(parents=True)
        (self.folder / "out").symlink_to(self.folder / "scratch" / "exp")
        self.train(train__max_steps=1)
        self.train(train__max_steps=2)
        self.assertTrue((self.folder / "out").is_symlink())
        self.assertEqual(len(self.metrics("scratch/exp", "step")), 2)
        self.assertEqual(len(self.metrics("scratch/exp.1", "step")), 1)

    def test_a_link_that_leads_nowhere_is_told(self):
        (self.folder / "out").symlink_to("gone")
        self.assert_one_message(self.train(code=2), r"is a link to gone, which is not there")

    def test_the_id_is_made_at_step_0_kept_on_resume_and_everywhere(self):
        self.train(train__max_steps=2)
        first = self.run_of("out")
        self.assertRegex(first, r"^[0-9a-f]{32}$")
        self.assertEqual(self.metrics("out", "summary")[-1]["run"], first)
        self.assertEqual(self.attributes("out")["run"], first)
        self.train(ranks=2, train__max_steps=4, checkpoint__resume="latest")
        self.assertEqual(self.run_of("out"), first)
        self.assertEqual(self.attributes("out")["run"], first)
        self.train(train__max_steps=2)
        self.assertNotEqual(self.run_of("out"), first)
        self.assertEqual(self.run_of("out.1"), first)

    def test_another_runs_folder_is_refused_or_a_branch_begins(self):
        self.train(train__max_steps=2, run__output_dir="a")
        self.train(train__max_steps=3, run__output_dir="b", run__seed=1)
        before = (self.folder / "b" / "metrics.jsonl").read_bytes()
        of_a = self.latest("a")
        refused = self.train(
            code=2, train__max_steps=4, checkpoint__resume=of_a, run__output_dir="b"
        )
        self.assert_one_message(
            refused, rf"holds another run \({self.run_of('b')}\).*\({self.run_of('a')}\)"
        )
        self.assertEqual((self.folder / "b" / "metrics.jsonl").read_bytes(), before)
        branch = {"checkpoint__branch": "true", "checkpoint__resume": of_a}
        self.train(train__max_steps=4, run__output_dir="c", **branch)
        self.assertNotIn(self.run_of("c"), (self.run_of("a"), self.run_of("b")))
        self.assertEqual([r["step"] for r in self.metrics("c", "step")], ["3", "4"])
        self.train(train__max_steps=4, run__output_dir="b", **branch)
        self.assertEqual((self.folder / "b.1" / "metrics.jsonl").read_bytes(), before)
        self.assertEqual(self.bits("b"), self.bits("c"))
        own = self.train(code=2, train__max_steps=5, run__output_dir="a", **branch)
        self.assert_one_message(own, r"is of the run in .*/a itself")

    def test_latest_never_takes_another_runs_checkpoint(self):
        self.train(train__max_steps=4, run__output_dir="b", run__seed=1)
        self.train(train__max_steps=2, run__output_dir="a")
        os.rename(
            self.folder / "b" / "checkpoints" / "step_00000004",
            self.folder / "a" / "checkpoints" / "step_00000004",
        )
        (self.folder / "a" / "checkpoints" / "latest").write_text("step_00000004\n")
        resumed = self.train(train__max_steps=3, checkpoint__resume="latest", run__output_dir="a")
        self.assertIn("is of another run", resumed.out + resumed.err)
        self.assertRegex(resumed.out + resumed.err, r"Resumed .*step_00000002")

    def test_fine_tuning_names_its_parent(self):
        self.train(train__max_steps=2, run__output_dir="a")
        self.train(train__max_steps=1, checkpoint__init_from=self.latest("a"))
        state = self.attributes("out")["state"]
        self.assertEqual(state["parent"], self.run_of("a"))
        self.assertNotEqual(state["run"], self.run_of("a"))


if __name__ == "__main__":
    th_run.main()
