#!/usr/bin/env python3
"""The same command twice: the same bits, and the first run's folder is set aside whole."""

import th_run


class Rerun(th_run.ProgramTest):
    def test_same_command_gives_the_same_bits_and_sets_the_first_folder_aside(self):
        self.train(train__max_steps=8)
        first = th_run.tree(self.folder / "out")
        second = self.train(train__max_steps=8)
        self.assertEqual(
            th_run.tree(self.folder / "out.1"),
            first,
            "the first run was changed by being set aside",
        )
        self.assert_one_message(second, r"out is now in .*out\.1")
        self.assert_same_run("out", "out.1")
        self.assert_same_checkpoint("out", "out.1")
        self.train(ranks=2, train__max_steps=2)
        self.assertEqual(th_run.tree(self.folder / "out.1"), first)
        self.assertEqual(len(self.metrics("out.2", "step")), 8)
        self.assertEqual(len(self.metrics("out", "step")), 2)

    def test_folder_written_with_a_slash_at_its_end_is_set_aside_too(self):
        self.train(train__max_steps=1)
        self.train(train__max_steps=2, run__output_dir="out/")
        self.assertEqual(len(self.metrics("out.1", "step")), 1)
        self.assertEqual(len(self.metrics("out", "step")), 2)

    def test_another_seed_gives_other_losses(self):
        self.train(train__max_steps=2)
        self.train(train__max_steps=2, run__seed=2)
        self.assertNotEqual(self.bits("out"), self.bits("out.1"))

    def test_folder_without_a_run_is_used_as_it_is(self):
        (self.folder / "out").mkdir()
        (self.folder / "out" / "notes.txt").write_text("mine")
        self.train(train__max_steps=1)
        self.assertEqual((self.folder / "out" / "notes.txt").read_text(), "mine")
        self.assertFalse((self.folder / "out.1").exists())


if __name__ == "__main__":
    th_run.main()
