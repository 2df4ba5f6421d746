#!/usr/bin/env python3
"""tools/load_checkpoint_in_pytorch.py puts a checkpoint into torch.nn.Transformer; its validation
loss is th_app's."""

import contextlib
import functools
import importlib.util
import io
import json
import os
import subprocess
import sys
import traceback
from unittest import mock

import th_run

os.environ["OMP_NUM_THREADS"] = "1"
th_run.use_python_with(
    "torch", "h5py", "numpy", candidates=[os.environ.get("TH_TORCH_PYTHON"), "/tmp/gold/bin/python"]
)

# Float32 forward passes that sum in different orders: a token's loss agrees to about 1e-6 relative,
# and the sum of 300 no worse.
TOLERANCE = 1e-5
SCRIPT = th_run.SOURCE / "tools" / "load_checkpoint_in_pytorch.py"


@functools.cache
def script():
    """The script as a module: PyTorch takes seconds to load, so the tests load it once."""
    spec = importlib.util.spec_from_file_location("load_checkpoint_in_pytorch", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Pytorch(th_run.ProgramTest):
    def load(self, *words, code=0):
        """The script's main in this process, in the test's folder: what it wrote."""
        out, err, seen = io.StringIO(), io.StringIO(), 0
        argv = [str(SCRIPT), *map(str, words)]
        before = os.getcwd()
        os.chdir(self.folder)
        try:
            with mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(out):
                script().main()
        except SystemExit as end:
            seen = 0 if end.code is None else 1
            err.write(str(end.code))
        except Exception:  # pylint: disable=broad-except  # as the interpreter would show it
            seen = 1
            traceback.print_exc(file=err)
        finally:
            os.chdir(before)
        result = th_run.Result(argv, seen, out.getvalue(), err.getvalue())
        self.assertEqual(seen, code, str(result))
        return result

    def loss(self, *words):
        return json.loads(self.load(*words).out)["valid_loss"]

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
        # As a user runs it.
        command = [sys.executable, SCRIPT, self.folder / "out"]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=th_run.LIMIT_S
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(json.loads(done.stdout)["valid_loss"], self.loss("out"))

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
        self.assertIn("model.activation = swiglu", self.load(self.latest(), code=1).err)
        self.train(train__max_steps=1, model__norm_kind="rms")
        self.assertIn("model.norm_kind = rms", self.load(self.latest(), code=1).err)

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
        self.assertRegex(self.load(self.latest(), code=1).err, "not finite.*shard")


if __name__ == "__main__":
    th_run.main()
