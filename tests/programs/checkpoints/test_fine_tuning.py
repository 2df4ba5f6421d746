#!/usr/bin/env python3
"""checkpoint.init_from: a checkpoint of another shape, vocabulary or corpus is refused by name."""

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

    def test_another_vocabulary_is_refused_with_the_first_token_that_differs(self):
        words = source_tokens(self.latest())
        # The new word has the old one's length and its place among words that are equally frequent.
        renamed = sorted(words[4:])[0].decode()
        text = (self.folder / "train.en").read_text()
        changed = re.sub(rf"(?<!\S){re.escape(renamed)}(?!\S)", renamed[:-1] + "~", text)
        self.assertNotEqual(changed, text)
        (self.folder / "train.en").write_text(changed)
        result = self.refused()
        self.assert_one_message(
            result,
            rf"vocabulary/source: {len(words)} tokens in the checkpoint, {len(words)} in the "
            r"corpus; \d+ differ, the first at id \d+: ",
        )
        self.assertNotIn("vocabulary/target", result.out + result.err)

    def test_a_smaller_corpus_is_refused_with_words_and_shapes(self):
        for language in ("en", "fr"):
            lines = (self.folder / f"train.{language}").read_text().splitlines(keepends=True)
            (self.folder / f"train.{language}").write_text("".join(lines[:120]))
        result = self.refused()
        self.assert_one_message(
            result,
            r"vocabulary/source: \d+ tokens in the checkpoint, \d+ in the corpus; \d+ differ",
        )
        self.assert_one_message(
            result,
            r"target_embedding.weight: \[\d+, 64\] in the checkpoint, \[\d+, 64\] in the model",
        )


if __name__ == "__main__":
    th_run.main()
