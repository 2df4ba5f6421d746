#!/usr/bin/env python3
"""Models with options as whole runs: the same bits at every rank count, stage and kind of
recomputation, and after a resume; planned as measured; translated, scored, listed, exported and
imported."""

import th_run

TODAY = {
    "model__norm_kind": "rms",
    "model__embedding_norm": "true",
    "model__activation": "swiglu",
    "model__attention_dropout": "0",
    "model__activation_dropout": "0.2",
    "model__tie_embeddings": "decoder",
    "model__position": "learned",
    "model__qk_norm": "true",
    "model__depth_scaled_init": "true",
    "data__max_length": 24,
}
MARIAN = {
    "model__norm": "post",
    "model__final_norm": "false",
    "model__activation": "swish",
    "model__tie_embeddings": "embeddings",
    "model__position_layout": "halves",
    "model__position_frequency": "marian",
    "model__start": "zero",
}
TEST_SET = {"data__test_source": "valid.en", "data__test_target": "valid.fr"}


class ModelOptions(th_run.ProgramTest):
    def test_ranks_stages_recomputation_and_a_resume_change_no_bit(self):
        for options in (TODAY, MARIAN):
            with self.subTest(**options):
                self.train(run__output_dir="whole", train__max_steps=8, **options)
                self.train(
                    ranks=3,
                    zero__stage=3,
                    model__gradient_checkpointing="selective",
                    train__max_steps=4,
                    **options,
                )
                self.train(
                    ranks=1,
                    zero__stage=1,
                    model__gradient_checkpointing="sqrt",
                    train__max_steps=8,
                    checkpoint__resume="latest",
                    **options,
                )
                self.assert_same_run("out", "whole")

    def test_measured_bytes_are_the_planned_ones(self):
        # program.option_pairs compares them of many more models.
        for options, dtypes in ((TODAY, ("bf16",)), (MARIAN, ("fp32",))):
            for dtype in dtypes:
                with self.subTest(dtype=dtype, **options):
                    self.train(
                        ranks=2,
                        zero__stage=2,
                        train__max_steps=2,
                        precision__dtype=dtype,
                        **options,
                        **TEST_SET,
                    )
                    (summary,) = self.metrics(kind="summary")
                    for planned, measured in zip(
                        summary["planned_bytes"], summary["measured_bytes"]
                    ):
                        self.assertAlmostEqual(int(measured) / int(planned), 1.0, delta=0.005)

    def test_the_selfcheck_finds_the_same_bits(self):
        for options in (TODAY, MARIAN):
            words = self.overrides(options)
            self.program("th_app", th_run.DECK, *words, "--selfcheck", ranks=2)

    def test_a_checkpoint_is_translated_listed_and_moved(self):
        for options in (TODAY, MARIAN):
            with self.subTest(**options):
                self.train(ranks=2, zero__stage=3, train__max_steps=6, **options, **TEST_SET)
                text = (self.folder / "valid.en").read_text()
                lines = self.program("th_translate", "out", text=text).out
                self.assertEqual(lines, (self.folder / "out" / "test.hyp").read_text())
                scored = self.program(
                    "th_translate", "out", "--score", "--input", "valid.en", "--target", "valid.fr"
                ).out.splitlines()
                self.assertEqual(len(scored), len(text.splitlines()))
                names = self.program("th_inspect", "ls", "out").out
                new = "linear3.weight" if options is TODAY else "linear2.weight"
                self.assertIn("encoder.layers.0." + new, names)
                self.assertEqual("source_positions.weight" in names, options is TODAY)
                self.program("th_inspect", "export", "out", "--output", "x.safetensors", "--force")
                self.program(
                    "th_inspect", "import", "x.safetensors", "--output", "moved", "--force"
                )
                self.program("th_inspect", "diff", "moved", "out", "--parameters-only")

    def test_learned_positions_end_with_the_reason(self):
        self.train(train__max_steps=1, **TODAY)
        limit = ("25 positions", "learned 24", "data.max_length")
        result = self.program("th_translate", "out", "--max-length", "24", text="one\n", code=2)
        self.assert_one_message(result, "--max-length", *limit)
        result = self.program("th_translate", "out", "--max-length", "23", text="one\n")
        newest = "out/checkpoints/step_00000001"
        self.assertEqual(result.err, f"th_translate: parameters of {newest}\n")
        pair = ("--score", "--input", "source", "--target", "target")
        (self.folder / "source").write_text("one\n")
        for count, code in ((23, 0), (24, 3)):
            (self.folder / "target").write_text(" ".join(["un"] * count) + "\n")
            result = self.program("th_translate", "out", *pair, code=code)
        self.assert_one_message(result, "line 1: a target of 24 ids", "an empty line", *limit)
        self.assertEqual(result.out, "\n")

    def test_sources_beyond_learned_positions_are_cut_with_a_warning(self):
        self.train(train__max_steps=1, **TODAY)
        fits = " ".join(["one"] * 23)  # and its end
        lines = [fits, fits + " two", "one", fits + " three four"]
        text = "".join(line + "\n" for line in lines)
        (self.folder / "source").write_text(text)
        (self.folder / "target").write_text("un\n" * len(lines))
        warning = "warning: 2 of 4 source lines were cut to the 24 positions", "data.max_length"
        result = self.program("th_translate", "out", text=text)
        self.assert_one_message(result, *warning)
        out = result.out.splitlines()
        self.assertEqual([out[1], out[3]], [out[0], out[0]])
        result = self.program(
            "th_translate", "out", "--score", "--input", "source", "--target", "target"
        )
        self.assert_one_message(result, *warning)
        self.assertEqual(len(result.out.splitlines()), len(lines))


if __name__ == "__main__":
    th_run.main()
