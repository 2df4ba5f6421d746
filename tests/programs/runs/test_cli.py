#!/usr/bin/env python3
"""The command line of th_app: what answers without a run, and one clear message with code 2 for
what it does not know."""

import re
import subprocess

import th_run

PAIR = ("source", "target")


def entries(text):
    """{section.key: (value, origin)} of a resolved deck."""
    found, section = {}, ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif " = " in line and not line.startswith("#"):
            key, rest = line.split(" = ", 1)
            value, origin = rest.rsplit("  # ", 1)
            found[f"{section}.{key}"] = (value, origin)
    return found


class CommandLine(th_run.ProgramTest):
    def app(self, *words, code=0, ranks=0):
        before = sorted(path.name for path in self.folder.iterdir())
        result = self.program("th_app", *words, code=code, ranks=ranks)
        self.assertEqual(
            sorted(path.name for path in self.folder.iterdir()),
            before,
            "an answer left something behind",
        )
        return result

    def refused(self, *words, patterns, ranks=0):
        self.assert_one_message(self.app(*words, code=2, ranks=ranks), *patterns)

    def test_help_names_every_option_and_exit_code(self):
        text = self.app("--help").out
        for word in (
            "--check",
            "--plan",
            "--selfcheck",
            "--explain",
            "--version",
            "section.key=value",
            "75",
        ):
            self.assertIn(word, text)
        self.assertEqual(self.app("-h").out, text)

    def test_version_names_the_build_and_its_libraries(self):
        text = self.app("--version").out
        self.assertRegex(text, r"\Ath_app \d+\.\d+\.\d+ ")
        for library in ("LibTorch", "HDF5", "Boost", "MPI", "Devices: cpu"):
            self.assertIn(library, text)

    def test_a_run_names_its_device_and_why_auto_took_it(self):
        self.assertRegex(
            self.train(train__max_steps=1).out,
            r"(?m)device +cpu, .*; run\.device=auto: (no NVIDIA driver on this machine|.*GPU)",
        )
        out = self.train(train__max_steps=1, run__device="cpu").out
        self.assertRegex(out, r"(?m)device +cpu, ")
        self.assertNotIn("run.device=auto", out)

    def test_nccl_on_a_cpu_is_refused_before_anything_is_done(self):
        self.refused(
            th_run.DECK,
            "run.device=cpu",
            "comm.backend=nccl",
            patterns=("comm.backend", "run.device is cpu; allowed auto, mpi"),
        )

    def test_check_prints_every_key_with_its_origin(self):
        text = self.app(th_run.DECK, "--check", "zero.stage=3", "--train.epochs=7").out
        seen = entries(text)
        self.assertEqual(seen["zero.stage"], ("3", "command line"))
        self.assertEqual(seen["train.epochs"], ("7", "command line"))
        self.assertEqual(seen["optimizer.beta2"][1], "default")
        value, origin = seen["model.d_model"]
        line = int(re.fullmatch(r"deck:(\d+)", origin).group(1))
        self.assertEqual(
            th_run.DECK.read_text().splitlines()[line - 1].replace(" ", ""), f"d_model={value}"
        )
        for key in ("data.train_source", "data.valid_target", "run.output_dir"):
            self.assertTrue(seen[key][0].startswith("/"), f"{key} = {seen[key][0]}")
        (self.folder / "again.in").write_text(text)
        again = entries(self.app(self.folder / "again.in", "--check").out)
        self.assertEqual(
            {key: value for key, (value, _) in again.items()},
            {key: value for key, (value, _) in seen.items()},
        )

    def test_deck_in_the_working_directory_is_found_by_its_bare_name(self):
        (self.folder / "mine.in").write_text(
            "[data]\ntrain_source = train.en\ntrain_target = train.fr\n"
        )
        seen = entries(self.app("mine.in", "--check").out)
        self.assertEqual(seen["data.train_source"][0], str(self.folder / "train.en"))
        self.assertEqual(seen["run.output_dir"][0], str(self.folder / "runs" / "mine"))

    def test_check_warns_of_a_key_without_effect(self):
        result = self.app(th_run.DECK, "--check", "schedule.name=constant")
        self.assert_one_message(result, "warning", "schedule.warmup_steps", "no effect")

    def test_check_with_data_reads_the_files(self):
        deck = (th_run.DECK, "--check", "--data", *self.overrides({}))
        text = self.app(*deck).out
        for line in (
            r"data: Training text: 480 pairs",
            r"data: Validation text: 40 pairs",
            r"data: vocabulary: source \d+, target \d+",
            r"data: the first epoch has 6 steps of 8 slots",
        ):
            self.assertRegex(text, rf"(?m)^# {line}")
        again = self.app(th_run.DECK, "--check", *self.overrides({})).out
        self.assertEqual(entries(text), entries(again))
        self.assertNotIn("data: ", again)
        cut = self.app(*deck, "data.max_length=4").out
        self.assertRegex(cut, r"(?m)^# warning: .*data.max_length = 4 ids; it was cut")
        random = ("data.synthetic=random_ids", "data.vocab_size=9", "train.max_steps=3")
        none = [f"data.{part}_{side}=" for part in ("train", "valid") for side in PAIR]
        words = [word for word in deck if not str(word).startswith(("data.train", "data.valid"))]
        self.assertIn("# data: random ids; no file is read\n", self.app(*words, *none, *random).out)

    def test_check_with_data_finds_bad_data(self):
        def refused(code, *patterns, **keys):
            deck = (th_run.DECK, "--check", "--data", *self.overrides(keys))
            result = self.app(*deck, code=code)
            self.assertEqual(result.out, "")
            self.assert_one_message(result, "error: ", *patterns)

        refused(3, "none.en: can't be read", data__train_source="none.en")
        refused(3, "valid.fr", data__train_target="valid.fr")
        refused(3, "min_freq = 100000", data__min_freq=100000)
        refused(2, "schedule.warmup_steps", schedule__name="cosine", schedule__warmup_steps=100000)
        refused(2, "valid.script", valid__script="none.sh")
        refused(2, "decode.forbidden_words", "zzz", decode__forbidden_words="zzz")
        refused(5, "none", checkpoint__resume="none.d")
        self.refused(th_run.DECK, "--data", patterns=("--data belongs to --check",))
        self.refused(th_run.DECK, "--plan", "--data", patterns=("--data belongs to --check",))

    def test_check_with_data_counts_the_steps_of_a_schedule_that_the_run_would_refuse(self):
        wsd = {"schedule__name": "wsd", "optimizer__lr": 0.001, "train__epochs": 3}
        for more, patterns in (
            (
                {"schedule__warmup_steps": 2, "schedule__decay_steps": 1000},
                ("schedule.decay_steps: 1000", "16 steps that train.epochs leaves"),
            ),
            (
                {"schedule__warmup_steps": 18},
                ("schedule.warmup_steps: 18", "18 steps of train.epochs"),
            ),
        ):
            keys = self.overrides({**wsd, **more})
            self.assert_one_message(self.app(th_run.DECK, *keys, code=2), "error: ", *patterns)
            found = self.app(th_run.DECK, "--check", "--data", *keys, code=2)
            self.assert_one_message(found, "error: ", *patterns)
            passed = self.app(th_run.DECK, "--check", *keys)
            self.assert_one_message(passed, "# note: the schedule's length was not checked")
        # Nothing is left to check where the length is given, or there is none.
        for more in ({"schedule__total_steps": 50, "schedule__warmup_steps": 2}, {}):
            keys = self.overrides({**wsd, **more} if more else {})
            self.assertNotIn("# note", self.app(th_run.DECK, "--check", *keys).out)

    def test_a_refused_value_and_key_name_what_was_meant(self):
        for words, nearest in (
            (("model.activation=silu",), "nearest swish"),
            (("model.final_norm=yes",), "nearest true"),
            (("model.window=4",), "nearest model.attention_window"),
        ):
            self.refused(th_run.DECK, "--check", *words, patterns=(words[0].split("=")[0], nearest))

    def test_check_warns_of_files_that_are_not_there(self):
        keys = self.overrides({"valid__script": "score.sh", "data__valid_source": "none.en"})
        result = self.app(th_run.DECK, "--check", *keys)
        self.assert_one_message(result, "# warning: .*valid.script: .*score.sh is not there")
        self.assert_one_message(result, "# warning: .*data.valid_source: .*none.en is not there")
        self.assertEqual(result.out.count(" is not there"), 2)

    def test_check_reports_all_mistakes_of_a_deck_with_their_lines(self):
        (self.folder / "bad.in").write_text(
            "[model]\nd_model = 64x\nnum_head = 4\n[data]\ntrain_source = train.en\n[zero]\n"
            "stage = 4\n"
        )
        result = self.app("./bad.in", "--check", "model.d_ff=0", code=2)
        for patterns in (
            ("bad.in:2", "model.d_model", "64x"),
            ("bad.in:3", "model.num_head", "nearest model.num_heads"),
            ("bad.in:7", "zero.stage", "allowed"),
            ("command line", "model.d_ff"),
        ):
            self.assert_one_message(result, *patterns)

    def test_explain_of_all_keys_is_one_entry_for_each(self):
        text = self.app("--explain").out
        keys = [
            line.split(" = ")[0] for line in text.splitlines() if re.match(r"\w+\.\w+ = ", line)
        ]
        self.assertEqual(len(keys), len(set(keys)))
        resolved = entries(self.app(th_run.DECK, "--check").out)
        self.assertEqual(
            set(resolved) - set(keys), set(), "keys of a resolved deck that --explain does not have"
        )
        self.assertGreater(len(keys), 70)

    def test_explain_of_a_key_and_of_a_section(self):
        one = self.app("--explain", "zero.stage").out
        self.assertEqual(one.splitlines()[0], "zero.stage = 0")
        self.assertIn("0 to 3", one)
        self.assertEqual(self.app("--explain=zero.stage").out, one)
        section = self.app(
            "--explain", "zero"
        ).out  # --help: "what a key, a section or every key of the deck means"
        self.assertEqual(
            [line for line in section.splitlines() if line.startswith("zero.stage")],
            ["zero.stage = 0"],
        )
        self.assertIn("zero.offload_optimizer", section)
        self.assertNotIn("comm.backend", section)

    def test_explain_of_several_keys_and_of_a_word(self):
        several = self.app("--explain", "zero.stage", "train.epochs").out
        for key in ("zero.stage = 0", "train.epochs = 5"):
            self.assertIn(key, several)
        muon = self.app("--explain", "muon").out
        for key in ("optimizer.name", "optimizer.muon_scale", "optimizer.adam_lr"):
            self.assertIn(f"{key} = ", muon)
        self.assertNotIn("zero.stage = ", muon)

    def test_explain_of_an_unknown_key_names_the_nearest(self):
        self.refused("--explain", "zero.stge", patterns=("zero.stge", "zero.stage"))

    def test_unknown_options_and_words(self):
        self.refused(th_run.DECK, "--chek", patterns=("--chek",))
        self.refused(th_run.DECK, "--zero.stage", patterns=("--zero.stage", "=value"))
        self.refused(th_run.DECK, "other.in", patterns=("other.in", "more than one deck"))
        self.refused(th_run.DECK, "--check", "--explain", patterns=("--check", "--explain"))
        self.refused(patterns=("no deck",))
        self.refused("absent.in", patterns=("absent.in",))

    def test_unknown_and_repeated_overrides(self):
        self.refused(
            th_run.DECK, "--check", "zero.stag=1", patterns=("zero.stag", "nearest zero.stage")
        )
        self.refused(
            th_run.DECK,
            "--check",
            "zero.stage=1",
            "--zero.stage=2",
            patterns=("zero.stage", "twice"),
        )
        self.refused(th_run.DECK, "--check", "zero.stage=", patterns=("zero.stage", "allowed"))

    def test_answers_are_given_once_below_mpirun(self):
        for words in (("--explain", "run.seed"), (th_run.DECK, "--check")):
            self.assertEqual(self.app(*words, ranks=2).out, self.app(*words).out, words)

    def test_one_rank_of_a_broken_launch_by_srun_speaks(self):
        self.environment |= {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "5"}
        for rank in (0, 1):
            self.environment["SLURM_PROCID"] = str(rank)
            result = self.app(th_run.DECK, "data.train_source=", "data.train_target=", code=7)
            self.assertEqual("broken launch" in result.out + result.err, rank == 0)

    def test_keys_that_only_planning_reads_and_a_value_beside_explain(self):
        for words in ((th_run.DECK, "--check", "plan.ranks=4"),):
            self.assert_one_message(
                self.app(*words),
                "warning: command line: plan.ranks has no effect: --plan alone reads it",
            )
        self.assertNotIn(
            "plan.ranks has no effect",
            self.app(
                th_run.DECK,
                "--plan",
                "plan.ranks=4",
                "data.train_source=",
                "data.train_target=",
                "data.valid_source=",
                "data.valid_target=",
                "data.test_source=",
                "data.test_target=",
                "data.synthetic=random_ids",
                "data.vocab_size=100",
                "train.max_steps=3",
            ).out,
        )
        self.refused(
            "--explain", "run.seed", "run.seed=4", patterns=("--explain takes keys alone",)
        )

    def test_the_decks_batch_size_gives_way_with_a_warning(self):
        (self.folder / "deck.in").write_text(
            "[data]\nsynthetic = none\ntrain_source = a\ntrain_target = b\nbatch_size = 8\n"
        )
        self.assert_one_message(
            self.app("deck.in", "--check", "data.batch_tokens=100"),
            "warning: .*deck.in:5: data.batch_size has no effect: data.batch_tokens",
        )

    def test_one_rank_speaks_below_mpirun(self):
        self.refused(th_run.DECK, "--chek", patterns=("--chek",), ranks=2)

    def test_a_slow_rank_0_still_speaks(self):
        """mpirun ends all ranks when the first exits with an error; rank 0 alone tells it."""
        for words in (("th_app", th_run.DECK, "--chek"), ("th_translate", "--nothing")):
            rank = th_run.rank_variable()
            late = f'test ${rank} -gt 0 || sleep 1; exec {th_run.BIN}/"$@"'
            done = subprocess.run(
                [th_run.MPIRUN, "-np", "2", "sh", "-c", late, "sh", *map(str, words)],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=th_run.LIMIT_S,
            )
            result = th_run.Result(words, done.returncode, done.stdout, done.stderr)
            self.assertEqual(result.code, 2, result)
            self.assert_one_message(result, words[-1])


if __name__ == "__main__":
    th_run.main()
