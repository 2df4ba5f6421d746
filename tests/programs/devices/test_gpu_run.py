#!/usr/bin/env python3
"""Whole runs with run.device=cuda on a machine without a GPU, through a plugin that stands in for
it (tests/gpu/fakes/fake_plugin.cpp): the bits of the same run on the CPU at every stage, rank
count, transport and precision, resumes, validation, translation, and what is said where something
is missing."""

import re
import subprocess

import th_run

STEPS = 8  # an epoch of 6 steps with its validation, and a third of the next
FAKE = th_run.BIN.parent / "fake_cuda"
# For what runs every stage and kind of recomputation.
TINY = {
    "model.d_model": 16,
    "model.num_heads": 2,
    "model.num_encoder_layers": 1,
    "model.num_decoder_layers": 2,
    "model.d_ff": 32,
    "data.batch_size": 2,
}


class GpuRun(th_run.ProgramTest):
    def setUp(self):
        super().setUp()
        self.environment.update(TH_CUDA_PLUGIN=str(FAKE), TH_FAKE_GPU_SUMS="cpu")

    assert_same_run = th_run.ProgramTest.assert_same_run_of_a_gpu

    # run.attention=products: the stand-in has no attention in one kernel, and the CPU has.
    def gpu(self, gpus=1, ranks=0, code=0, **keys):
        self.environment["TH_FAKE_GPUS"] = str(gpus)
        return self.train(
            ranks=ranks,
            code=code,
            **{
                "run__device": "cuda",
                "run__attention": "products",
                "train__max_steps": STEPS,
                **keys,
            },
        )

    def scores_and_loss(self, run):
        """The eval records without the validation loss, and that loss."""
        records = self.metrics(run, "eval")
        (loss,) = (float(r["value"]) for r in records if r["metric"] == "valid_loss")
        return [r for r in records if r["metric"] != "valid_loss"], loss

    def on_cpu(self, **keys):
        for name in ("TH_FAKE_GPUS", "TH_FAKE_GPU_SUMS"):
            self.environment.pop(name, None)
        self.train_once_for_all(
            run__device="cpu", run__attention="products", train__max_steps=STEPS, **keys
        )
        self.environment["TH_FAKE_GPU_SUMS"] = "cpu"

    def assert_device_memory_as_planned(self):
        """To the byte, with the transport's buffers."""
        summary = self.metrics(kind="summary")[0]
        self.assertEqual(summary["planned_bytes"], summary["measured_bytes"])

    def assert_the_bits_of_the_cpu(self, cases, **keys):
        self.on_cpu(**keys)
        for ranks, gpus, more in cases:
            with self.subTest(ranks=ranks, gpus=gpus, **keys, **more):
                out = self.gpu(gpus, ranks, **keys, **more).out
                self.assertIn("device     cuda:Fake-GPU", out)
                # MPI moves the tensors of this case; otherwise NCCL, which auto takes.
                staged = more.get("comm__backend") == "mpi"
                backend = "staged through pinned host memory, " if staged else "NCCL 2[.]"
                self.assertRegex(out, rf"(?m)^backend +{backend}")
                overlap = "off" if staged else "on"
                self.assertIn(f"Communication beside compute: {overlap} (auto: ", out)
                self.assert_device_memory_as_planned()
                self.assert_same_run("out", "whole")
                self.assert_same_checkpoint("out", "whole")

    def test_nccl_gives_the_bits_of_the_cpu(self):
        # Stage 0 of several ranks is below, in bf16 and with offload; the selfcheck has every kind
        # of recomputation.
        cases = [
            (1, 1, {"zero__stage": 0}),
            (2, 2, {"zero__stage": 1}),
            (3, 3, {"zero__stage": 2}),
            (2, 2, {"zero__stage": 3, "zero__prefetch_units": 2}),
        ]
        self.assert_the_bits_of_the_cpu(cases)

    def test_mpi_by_way_of_pinned_memory_gives_the_bits_of_the_cpu(self):
        # Every stage over MPI, in both types: the script that compares the stages.
        cases = [(2, 1, {"zero__stage": 3}), (3, 2, {"zero__stage": 2})]
        mpi = {"comm__backend": "mpi"}
        self.assert_the_bits_of_the_cpu([(*case[:2], {**case[2], **mpi}) for case in cases])

    def test_bf16_gives_the_bits_of_the_cpu(self):
        cases = [
            (2, 2, {"zero__stage": 0}),
            (3, 3, {"zero__stage": 3}),
            (2, 1, {"zero__stage": 2, "precision__reduce_dtype": "fp32", "comm__backend": "mpi"}),
        ]
        self.assert_the_bits_of_the_cpu(cases, precision__dtype="bf16")

    def test_fp16_gives_the_bits_of_the_cpu(self):
        cases = [(2, 1, {"zero__stage": 3, "comm__backend": "mpi"})]
        self.assert_the_bits_of_the_cpu(cases, precision__dtype="fp16")

    def test_offload_gives_the_bits_of_the_cpu(self):
        both = {"zero__offload_optimizer": "true", "zero__offload_parameters": "true"}
        cases = [
            (2, 2, {"zero__stage": 0, "zero__offload_optimizer": "true"}),
            (2, 2, {"zero__stage": 3, "zero__prefetch_units": 2, **both}),
            (2, 1, {"zero__stage": 3, "comm__backend": "mpi", **both}),
        ]
        self.assert_the_bits_of_the_cpu(cases)
        self.assert_the_bits_of_the_cpu(
            [(2, 2, {"zero__stage": 3, **both})], precision__dtype="bf16"
        )

    def test_tied_embeddings_and_post_norm_too(self):
        self.assert_the_bits_of_the_cpu(
            [(2, 2, {"zero__stage": 3})],
            model__tie_embeddings="true",
            model__norm="post",
            data__tokenizer="word",
        )

    def test_options_of_the_model_too(self):
        self.assert_the_bits_of_the_cpu(
            [(2, 2, {"zero__stage": 3})],
            model__norm_kind="rms",
            model__embedding_norm="true",
            model__activation="swiglu",
            model__activation_dropout="0.2",
            model__position="learned",
            model__qk_norm="true",
            model__tie_embeddings="decoder",
        )
        self.assert_the_bits_of_the_cpu(
            [(2, 2, {"zero__stage": 3})],
            precision__dtype="bf16",
            model__activation="gelu",
            model__final_norm="false",
            model__position="learned",
            model__start="zero",
            model__tie_embeddings="embeddings",
        )

    def test_a_gpus_own_order_of_sums_is_the_same_at_every_stage_and_rank_count(self):
        self.environment["TH_FAKE_GPU_SUMS"] = "gpu"
        self.gpu(run__output_dir="whole", zero__stage=0)
        for ranks, gpus, keys in (
            (2, 2, {"zero__stage": 3}),
            (3, 1, {"zero__stage": 2, "comm__backend": "mpi"}),
        ):
            with self.subTest(ranks=ranks, **keys):
                self.gpu(gpus, ranks, **keys)
                self.assert_same_run("out", "whole")
        self.on_cpu()
        losses = [
            [float(record["loss"]) for record in self.metrics(run, "step")]
            for run in ("out", "whole")
        ]
        for seen, expected in zip(*losses):
            self.assertAlmostEqual(
                seen, expected, delta=1e-5 * expected, msg="fp32, another order of sums"
            )

    def test_a_resume_goes_on_with_the_same_bits_at_another_stage_and_rank_count(self):
        self.gpu(run__output_dir="whole")
        self.gpu(2, 2, zero__stage=3, train__max_steps=4, zero__offload_optimizer="true")
        result = self.gpu(1, 2, zero__stage=1, comm__backend="mpi", checkpoint__resume="latest")
        self.assertNotIn("The checkpoint was written as", result.out)
        self.assert_same_run("out", "whole")

    def test_a_resume_from_the_cpu_says_that_the_identity_is_another(self):
        self.train(run__device="cpu", run__attention="products", train__max_steps=4)
        result = self.gpu(2, 2, zero__stage=2, checkpoint__resume="latest")
        self.assert_one_message(
            result,
            "The checkpoint was written as",
            "device=cpu",
            "this run is",
            "device=cuda:Fake-GPU",
        )
        self.on_cpu()
        self.assert_same_run("out", "whole")

    def test_the_test_set_is_translated_as_by_the_cpu(self):
        keys = {"data__test_source": "valid.en", "data__test_target": "valid.fr", "decode__beam": 2}
        self.on_cpu(**keys)
        together = {"zero__stage": 3, "decode__sharded": "on"}
        for ranks, more in (
            (2, {"zero__stage": 3}),
            (2, together),
            (2, {**together, "zero__offload_parameters": "true"}),
        ):
            self.assertRegex(
                self.gpu(ranks, ranks, **keys, **more).out, r"(?m)^decoding +on the host"
            )
            self.assertEqual(
                (self.folder / "out" / "test.hyp").read_text(),
                (self.folder / "whole" / "test.hyp").read_text(),
            )
            scores, loss = self.scores_and_loss("out")
            expected, expected_loss = self.scores_and_loss("whole")
            self.assertEqual(scores, expected)
            # assert_same_run_of_a_gpu() says why; not equal on processors without AVX-512.
            self.assertLessEqual(abs(loss - expected_loss), 1e-11 * expected_loss)
        line = (self.folder / "valid.en").read_text().splitlines()[0] + "\n"
        texts = [
            self.program("th_translate", self.latest(run), "--beam", 2, text=line).out
            for run in ("out", "whole")
        ]
        self.assertEqual(*texts)

    def test_activations_and_batches_take_the_memory_that_was_planned(self):
        for keys in (
            {},
            {"precision__dtype": "bf16", "zero__stage": 3},
            {"model__gradient_checkpointing": "sqrt", "model__num_encoder_layers": 4},
        ):
            found = re.search(r"Memory of a rank: .*", self.gpu(**keys).out).group(0)
            for kind in ("activations", "batches", "exp_avg"):
                planned, measured = re.search(rf"{kind} (\S+ \S+) / (\S+ \S+) \(", found).groups()
                self.assertEqual(planned, measured, found)

    def test_selfcheck_compares_the_stages_on_the_gpu(self):
        self.environment["TH_FAKE_GPU_SUMS"] = "gpu"
        words = self.overrides({"run__device": "cuda", "comm__backend": "mpi", **TINY})
        result = self.program("th_app", th_run.DECK, "--selfcheck", *words, ranks=2)
        self.assertIn("All stages and kinds of recomputation give the same bits.", result.out)
        self.assertNotIn("Offload has no effect", result.out)

    def test_the_script_that_compares_the_stages_on_a_gpu(self):
        self.environment["TH_FAKE_GPU_SUMS"] = "gpu"
        words = [f"{key}={value}" for key, value in TINY.items()]
        script = [th_run.SOURCE / "tools" / "gpu_stages.sh", th_run.BIN.parent, *words]
        done = subprocess.run(
            ["bash", *script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for dtype in ("fp32", "bf16"):
            self.assertRegex(done.stdout, rf"(?m)^{dtype}: .*: the same bits \(\S+ \S+ \S+\)$")
        self.environment["TH_FAKE_GPU_TENSORS"] = "cuda"
        done = subprocess.run(
            ["bash", *script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        self.assertEqual(done.returncode, 77)
        self.assertRegex(done.stdout, r"\Askipped: run.device=cuda needs LibTorch")

    def test_more_ranks_than_gpus_is_an_error_that_names_both_unless_mpi_moves_the_tensors(self):
        result = self.gpu(1, 2, code=7)
        self.assert_one_message(
            result, "more ranks than GPUs: 2 ranks, 1 GPU;", r"comm\.backend=mpi"
        )
        self.gpu(1, 2, comm__backend="mpi", train__max_steps=1)

    def test_what_is_missing_is_said_in_one_line(self):
        self.assert_one_message(self.gpu(0, 2, code=7), "no GPU is visible", "run.device=cpu")
        self.assert_one_message(
            self.gpu(0, 1, code=7, run__device="auto", comm__backend="nccl"), "no GPU is visible"
        )
        self.environment["TH_FAKE_GPU_TENSORS"] = "cuda"
        self.assert_one_message(
            self.gpu(1, 0, code=7),
            "run.device=cuda needs LibTorch .* with CUDA",
            r"libtorch_cuda\.so|no GPU|libcu|finds",
        )
        self.environment["TH_CUDA_PLUGIN"] = "/nonexistent"
        self.assert_one_message(
            self.gpu(1, 0, code=7), "libth_cuda.so is in none of /nonexistent", "TH_WITH_CUDA=ON"
        )
        self.assertFalse((self.folder / "out").exists(), "nothing was done")

    def test_a_run_that_does_not_fit_the_gpu_ends_before_it_allocates(self):
        self.environment["TH_FAKE_GPU_BYTES"] = "1000000"
        result = self.gpu(2, 2, code=4)
        self.assert_one_message(
            result,
            r"does not fit into a GPU of \S+: a rank needs [\d.]+ MiB \(parameters ",
            "zero.offload_optimizer=true",
        )
        self.environment["TH_FAKE_GPU_BYTES"] = "1000000000"
        self.gpu(1, 0, train__max_steps=1)

    def test_auto_takes_the_gpus_where_every_rank_can_have_one(self):
        def device(gpus, ranks, **keys):
            out = self.gpu(gpus, ranks, run__device="auto", train__max_steps=1, **keys).out
            return re.search(r"(?m)^device +(.*)$", out)[1]

        self.assertRegex(device(2, 2), "^cuda:Fake-GPU")
        self.assertRegex(
            device(1, 2),
            r"^cpu, .*; run\.device=auto: .* has more ranks than GPUs: 2 ranks, 1 GPU;",
        )
        self.assertRegex(device(1, 2, comm__backend="mpi"), "^cuda:Fake-GPU")
        self.assertRegex(
            device(0, 1, zero__offload_optimizer="true"),
            r"^cpu, .*; run\.device=auto: no GPU is visible",
        )
        self.environment["TH_FAKE_GPU_TENSORS"] = "cuda"
        self.assertRegex(
            device(1, 1), r"^cpu, .*; run\.device=auto: run\.device=cuda needs LibTorch"
        )


if __name__ == "__main__":
    if not (FAKE / "libth_cuda.so").exists():
        print("skipped: this build has no CUDA plugin (TH_WITH_CUDA)")
        raise SystemExit(th_run.SKIP)
    th_run.main()
