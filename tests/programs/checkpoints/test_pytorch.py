#!/usr/bin/env python3
"""tools/load_checkpoint_in_pytorch.py puts a checkpoint into torch.nn.Transformer; its validation
loss is th_app's."""

import json
import os
import subprocess
import sys

import th_run

th_run.use_python_with(
    "torch", "h5py", "numpy", candidates=[os.environ.get("TH_TORCH_PYTHON"), "/tmp/gold/bin/python"]
)

# Float32 forward passes that sum in different orders: a token's loss agrees to about 1e-6 relative,
# and the sum of 300 no worse.
TOLERANCE = 1e-5


class Pytorch(th_run.ProgramTest):
    def load(self, *words, code=0):
        done = subprocess.run(
            [
                sys.executable,
                th_run.SOURCE / "tools" / "load_checkpoint_in_pytorch.py",
                *map(str, words),
            ],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=th_run.LIMIT_S,
            check=False,
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def loss(self, *words):
        return json.loads(self.load(*words).stdout)["valid_loss"]

    def assert_same_loss(self, checkpoint, expected):
        self.assertLess(abs(self.loss(checkpoint) - expected), TOLERANCE * expected)

    def check(self, **keys):
        """Trains one epoch (in which the loss moves) and compares the loss at its end."""
        self.train(
            train__epochs=1, model__num_encoder_layers=2, model__num_decoder_layers=2, **keys
        )
        expected = float(self.metrics(kind="epoch")[0]["valid_loss"])
        self.assert_same_loss("out/checkpoints", expected)  # its `latest`

    def test_pre_norm_separate_embeddings_written_by_three_ranks(self):
        self.check(model__norm="pre", ranks=3, zero__stage=3)

    def test_pre_norm_tied_embeddings(self):
        self.check(model__norm="pre", model__tie_embeddings="true")

    def test_post_norm_separate_embeddings(self):
        self.check(model__norm="post")

    def test_post_norm_tied_embeddings_written_by_two_ranks(self):
        self.check(model__norm="post", model__tie_embeddings="true", ranks=2, zero__stage=2)

    def test_options_that_torch_nn_transformer_has(self):
        self.check(
            model__activation="gelu",
            model__norm_eps="0.001",
            model__tie_embeddings="decoder",
            ranks=2,
            zero__stage=3,
        )

    def test_an_option_that_it_does_not_have_is_refused(self):
        self.train(train__max_steps=1, model__activation="swiglu")
        self.assertIn("model.activation = swiglu", self.load(self.latest(), code=1).stderr)
        self.train(train__max_steps=1, model__norm_kind="rms")
        self.assertIn("model.norm_kind = rms", self.load(self.latest(), code=1).stderr)

    def test_lines_above_max_length_are_cut_alike_and_other_text_can_be_given(self):
        self.train(train__epochs=1, data__max_length=6)
        self.assert_same_loss(self.latest(), float(self.metrics(kind="epoch")[0]["valid_loss"]))
        other = self.loss(self.latest(), "--source", "train.en", "--target", "train.fr")
        self.assertNotAlmostEqual(
            other, float(self.metrics(kind="epoch")[0]["valid_loss"]), places=3
        )

    def test_missing_shard_is_refused(self):
        self.train(ranks=2, train__max_steps=1)
        (self.latest() / "shard_00001.h5").unlink()
        self.assertRegex(self.load(self.latest(), code=1).stderr, "not finite.*shard")


if __name__ == "__main__":
    th_run.main()
