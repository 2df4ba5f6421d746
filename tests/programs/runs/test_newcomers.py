#!/usr/bin/env python3
"""The mistakes of a first day: words of another program, a deck in another format, files that are
not there, a folder that can't be written. Each is told in one line that says what to write."""

import th_run

PROGRAMS = ("th_app", "th_translate", "th_inspect", "th_corpus", "th_score", "th_report")


class Newcomers(th_run.ProgramTest):
    def refused(self, *words, patterns, ranks=0):
        result = self.program("th_app", *words, code=2, ranks=ranks)
        self.assert_one_message(result, "command line", *patterns)
        if not ranks:  # mpirun has lines of its own
            self.assertEqual(len(result.err.splitlines()), 2, "one problem and the usage")

    def test_a_key_without_its_section(self):
        for words, answer in (
            (("--epochs", "3"), "write train.epochs=3"),
            (("--batch_size=16",), "write data.batch_size=16"),
            (("epochs=5",), "write train.epochs=5"),
            (("--learning_rate", "0.001"), "write optimizer.lr=0.001"),
            (("--max_length=50",), "write data.max_length=50 or decode.max_length=50"),
            (("--num_heads", "4"), "write model.num_heads=4"),
        ):
            self.refused(th_run.DECK, *words, patterns=(answer,))
            self.refused(*words, th_run.DECK, "--check", patterns=(answer,))
        self.refused(th_run.DECK, "--epochs", "3", patterns=("train.epochs=3",), ranks=2)

    def test_options_of_a_launcher_and_of_deepspeed(self):
        self.refused(th_run.DECK, "-np", "4", patterns=("mpirun -np N th_app DECK",))
        self.refused(th_run.DECK, "--deepspeed", "ds.json", patterns=("tools/deepspeed2deck.py",))

    def test_what_is_advised_is_taken(self):
        words = ("train.epochs=3", "data.batch_size=16", "optimizer.lr=0.001")
        text = self.program("th_app", th_run.DECK, "--check", *words).out
        for line in ("epochs = 3  # command line", "batch_size = 16  # command line"):
            self.assertIn(line, text)

    def test_a_configuration_of_another_format(self):
        for name, text, line, kind in (
            ("ds.json", '{\n  "train_batch_size": 8,\n  "fp16": {"enabled": true}\n}\n', 1, "JSON"),
            ("config.yaml", "# mine\nmodel:\n  d_model: 512\ntrain:\n  epochs: 5\n", 2, "YAML"),
        ):
            (self.folder / name).write_text(text)
            for more in ((), ("--check",)):
                result = self.program("th_app", name, *more, code=2)
                self.assert_one_message(result, rf"{name}:{line}: this is {kind}", "key = value")
                self.assertEqual(len(result.err.splitlines() + result.out.splitlines()), 1, result)

    def test_a_deck_that_can_not_be_read_says_why(self):
        for deck, why in (("none.in", "No such file or directory"), (".", "it is a folder")):
            result = self.program("th_app", deck, "--check", code=2)
            self.assert_one_message(result, rf"{deck}: the deck can't be read: {why}")

    def test_a_missing_file_names_its_key_and_line(self):
        (self.folder / "mine.in").write_text(
            "[data]\ntrain_source = train.en\ntrain_target = none.fr\n"
        )
        place = rf"mine.in:3: data.train_target: {self.folder}/none.fr: can't be read: No such file"
        warned = self.program("th_app", "mine.in", "--check")
        self.assert_one_message(warned, r"# warning: deck:3: data.train_target: .* is not there")
        for words in ((), ("--check", "--data"), ("--selfcheck",)):
            self.assert_one_message(self.program("th_app", "mine.in", *words, code=3), place)
        self.assert_one_message(self.program("th_app", "mine.in", code=3, ranks=2), place)
        self.assert_one_message(self.program("th_corpus", "encode", "mine.in", code=3), place)
        given = self.program("th_app", "mine.in", "data.train_target=no.fr", code=3)
        self.assert_one_message(given, r"command line: data.train_target: \S*/no.fr: can't be read")

    def test_a_folder_that_can_not_be_written(self):
        (self.folder / "file").write_text("mine\n")
        for folder, why in (
            ("file/run", "can't be made: Not a directory"),
            ("file", "is a file"),
            ("/proc/run", "can't be made: "),
        ):
            result = self.train(code=2, run__output_dir=folder)
            self.assert_one_message(result, "run.output_dir: ", why, "give a folder")

    def test_every_program_has_help_and_a_version(self):
        for name in PROGRAMS:
            text = self.program(name, "--help").out
            self.assertIn(name, text)
            self.assertEqual(self.program(name, "-h").out, text, name)
            self.assertRegex(self.program(name, "--version").out, rf"\A{name} \d+\.\d+\.\d+ ")
        for words in (("th_inspect", "ls"), ("th_corpus", "numbers")):
            self.assertEqual(
                self.program(*words, "-h").out, self.program(*words, "--help").out, words
            )


if __name__ == "__main__":
    th_run.main()
