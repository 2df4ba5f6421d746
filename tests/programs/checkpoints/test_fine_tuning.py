#!/usr/bin/env python3
"""checkpoint.init_from and data.vocabulary: other text is read with the checkpoint's vocabulary,
and a checkpoint of another shape is refused by name."""

import re

import th_run

th_run.use_python_with("h5py")
import h5py  # noqa: E402


def source_tokens(folder):
    with h5py.File(folder / "model.h5", "r") as file:
        return list(file["vocabulary"]["source"][:])


class FineTuning(th_run.SharedRunTest):
    def train_once(self):
        self.train(ranks=2, train__max_steps=2)

    def refused(self, **keys):
        before = {
            name: data for name, data in th_run.tree(self.folder).items() if name.startswith("out")
        }
        result = self.train(
            ranks=2, train__max_steps=1, checkpoint__init_from=self.latest(), code=5, **keys
        )
        after = {
            name: data for name, data in th_run.tree(self.folder).items() if name.startswith("out")
        }
        self.assertEqual(after, before, "a refused start touched the earlier run")
        return result

    def test_another_shape_is_refused_tensor_by_tensor(self):
        result = self.refused(model__d_ff=96)
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
        result = self.refused(model__num_encoder_layers=2)
        self.assert_one_message(
            result, r"encoder.layers.1.norm1.weight: \[64\] in the model, not in the checkpoint"
        )

    def change_one_word(self):
        """Training text in which a word is another one: of the same length, and in the place of
        the old one among words that are equally frequent."""
        words = source_tokens(self.latest())
        renamed = sorted(words[4:])[0].decode()
        text = (self.folder / "train.en").read_text()
        changed = re.sub(rf"(?<!\S){re.escape(renamed)}(?!\S)", renamed[:-1] + "~", text)
        self.assertNotEqual(changed, text)
        (self.folder / "train.en").write_text(changed)
        return len(words)

    def keep_lines(self, count):
        for language in ("en", "fr"):
            lines = (self.folder / f"train.{language}").read_text().splitlines(keepends=True)
            (self.folder / f"train.{language}").write_text("".join(lines[:count]))

    def tune(self, **keys):
        return self.train(
            ranks=2,
            train__max_steps=1,
            checkpoint__init_from=self.latest(),
            run__output_dir="tuned",
            **keys,
        )

    def test_other_text_is_read_with_the_checkpoints_vocabulary(self):
        before = source_tokens(self.latest())
        self.change_one_word()
        self.keep_lines(120)
        result = self.tune()
        self.assertNotIn("other tokens", result.out + result.err)
        self.assertEqual(source_tokens(self.latest("tuned")), before)
        # The tuned run goes on with them too, and so does one that no longer names the first.
        for steps, keys in ((2, {"checkpoint__init_from": self.latest()}), (3, {})):
            self.train(
                ranks=3,
                train__max_steps=steps,
                checkpoint__resume="latest",
                run__output_dir="tuned",
                **keys,
            )
            self.assertEqual(source_tokens(self.latest("tuned")), before)
        self.assertEqual([r["step"] for r in self.metrics("tuned", "step")], ["1", "2", "3"])

    def test_other_tokens_in_as_many_rows_are_a_warning(self):
        words = self.change_one_word()
        result = self.tune(data__vocabulary="text")
        self.assert_one_message(result, "warning", "was trained with other tokens")
        self.assert_one_message(
            result,
            rf"vocabulary/source: {words} tokens in the checkpoint, {words} in the corpus; \d+ "
            r"differ, the first at id \d+: ",
        )
        self.assertNotIn("vocabulary/target", result.out + result.err)

    def test_a_smaller_corpus_of_its_own_is_refused_with_words_and_shapes(self):
        self.keep_lines(120)
        result = self.refused(data__vocabulary="text")
        self.assert_one_message(
            result,
            r"vocabulary/source: \d+ tokens in the checkpoint, \d+ in the corpus; \d+ differ",
        )
        self.assert_one_message(
            result,
            r"target_embedding.weight: \[\d+, 64\] in the checkpoint, \[\d+, 64\] in the model",
        )

    def test_words_come_from_a_file_or_from_another_run(self):
        tokens = [token.decode() for token in source_tokens(self.latest())]
        (self.folder / "words").write_text("".join(token + "\n" for token in tokens))
        keys = {"ranks": 2, "train__max_steps": 1, "run__output_dir": "other"}
        self.train(data__vocabulary="words", **keys)
        self.assertEqual([t.decode() for t in source_tokens(self.latest("other"))], tokens)
        self.keep_lines(120)
        self.train(data__vocabulary="out", **keys)
        self.assertEqual([t.decode() for t in source_tokens(self.latest("other"))], tokens)
        (self.folder / "words").write_text("one\ntwo\n")
        result = self.train(code=3, data__vocabulary="words", **keys)
        self.assert_one_message(result, "error", "words: vocabulary: token 0 is not <pad>")
        result = self.train(
            code=2, data__vocabulary="out", data__joint_vocabulary="true", **keys
        )
        self.assert_one_message(result, "error", "data.joint_vocabulary", "out has two: ")


if __name__ == "__main__":
    th_run.main()
