#!/usr/bin/env python3
"""tools/deepspeed2deck.py: DeepSpeed's configurations become decks that th_app accepts, and what
differs is named. The configurations are written in the manner of DeepSpeed's and Hugging Face's
documentation."""

import math

import th_run
from deepspeed_case import Conversion

ADAMW = {"type": "AdamW", "params": {"lr": 2e-4, "betas": [0.9, 0.95], "weight_decay": 0.01}}
WARMUP = {
    "type": "WarmupLR",
    "params": {"warmup_min_lr": 1e-6, "warmup_max_lr": 3e-4, "warmup_num_steps": 40},
}
FP16_STAGE_2 = {
    "train_batch_size": 96,
    "train_micro_batch_size_per_gpu": 12,
    "steps_per_print": 50,
    "gradient_clipping": 0.5,
    "optimizer": {**ADAMW, "params": {**ADAMW["params"], "lr": 3e-4}},
    "scheduler": WARMUP,
    "fp16": {
        "enabled": True,
        "auto_cast": True,
        "loss_scale": 0,
        "initial_scale_power": 12,
        "loss_scale_window": 500,
        "hysteresis": 3,
        "min_loss_scale": 2,
    },
    "zero_optimization": {
        "stage": 2,
        "allgather_bucket_size": 5e7,
        "reduce_bucket_size": 5e7,
        "overlap_comm": True,
        "reduce_scatter": True,
        "contiguous_gradients": True,
        "round_robin_gradients": None,
        "offload_optimizer": {"device": "cpu"},
    },
    "communication_data_type": "fp16",
    "activation_checkpointing": {"partition_activations": True, "profile": False},
    "wall_clock_breakdown": True,
    "prescale_gradients": False,
}


class Decks(Conversion):
    def test_a_small_configuration(self):
        values, lines = self.checked(
            {
                "train_batch_size": 24,
                "optimizer": {"type": "Adam", "params": {"lr": 0.0007}},
                "fp16": {"enabled": False},
                "zero_optimization": True,
            },
            "--ranks=4",
        )
        self.assert_values(
            values,
            {
                "data.batch_size": "6",
                "train.micro_batches": "4",
                "train.gradient_clip": "0",
                "optimizer.name": "adamw",  # adam_w_mode is true by default
                "optimizer.lr": "0.0007",
                "optimizer.beta2": "0.999",
                "optimizer.eps": "1e-08",
                "schedule.name": "constant",
                "precision.dtype": "fp32",
                "zero.stage": "1",
            },
        )
        self.assertEqual(lines, {})

    def test_fp16_at_stage_2(self):
        values, lines = self.checked(FP16_STAGE_2)
        self.assert_values(
            values,
            {
                "data.batch_size": "12",
                "train.micro_batches": "8",
                "train.gradient_clip": "0.5",
                "optimizer.name": "adamw",
                "optimizer.lr": "0.0003",
                "optimizer.weight_decay": "0.01",
                "schedule.name": "warmup_constant",
                "schedule.warmup_shape": "log",
                "schedule.warmup_steps": "40",
                "schedule.min_lr": "1e-06",
                "precision.dtype": "fp16",
                "precision.reduce_dtype": "working",
                "precision.loss_scale": "4096",
                "precision.loss_scale_window": "500",
                "precision.loss_scale_hysteresis": "3",
                "precision.loss_scale_min": "2",
                "zero.stage": "2",
                "zero.offload_optimizer": "true",
                "comm.overlap": "on",
                "monitor.log_every_steps": "50",
            },
        )
        zero = "zero_optimization."
        lost = {f"{zero}{key}" for key in ("allgather_bucket_size", "reduce_bucket_size")}
        lost |= {f"{zero}reduce_scatter", f"{zero}contiguous_gradients", "fp16.auto_cast"}
        lost |= {"activation_checkpointing.partition_activations", "wall_clock_breakdown"}
        self.assertEqual(set(lines), lost)
        self.assertTrue(all(text.startswith("not carried over: ") for text in lines.values()))
        self.assertIn(
            "model.gradient_checkpointing", lines["activation_checkpointing.partition_activations"]
        )

    def test_bf16_at_stage_3_with_offload(self):
        values, lines = self.checked(
            {
                "train_micro_batch_size_per_gpu": 4,
                "gradient_accumulation_steps": 2,
                "bf16": {"enabled": True},
                "optimizer": ADAMW,
                "scheduler": {
                    "type": "WarmupCosineLR",
                    "params": {
                        "total_num_steps": 900,
                        "warmup_num_steps": 90,
                        "cos_min_ratio": 0.05,
                        "warmup_type": "linear",
                    },
                },
                "zero_optimization": {
                    "stage": 3,
                    "offload_optimizer": {"device": "cpu", "pin_memory": True},
                    "offload_param": {"device": "nvme", "nvme_path": "/scratch"},
                    "overlap_comm": False,
                    "sub_group_size": 1e9,
                    "stage3_prefetch_bucket_size": 4e7,
                    "stage3_param_persistence_threshold": 1e6,
                    "stage3_max_live_parameters": 1e9,
                    "stage3_max_reuse_distance": 1e9,
                    "stage3_gather_16bit_weights_on_model_save": True,
                },
            },
            "--ranks",
            3,
        )
        self.assert_values(
            values,
            {
                "data.batch_size": "4",
                "train.micro_batches": "6",
                "precision.dtype": "bf16",
                "schedule.name": "cosine",
                "schedule.warmup_steps": "90",
                "schedule.total_steps": "900",
                "schedule.min_ratio": "0.05",
                "optimizer.lr": "0.0002",
                "optimizer.beta2": "0.95",
                "zero.stage": "3",
                "zero.offload_optimizer": "true",
                "zero.offload_parameters": "true",
                "zero.persistence_threshold": "1000000",
                "zero.max_live_parameters": "1000000000",
                "comm.overlap": "off",
            },
        )
        zero = "zero_optimization."
        changed = {f"{zero}offload_param.device", f"{zero}stage3_param_persistence_threshold"}
        self.assertEqual(
            {key for key, text in lines.items() if not text.startswith("not carried over")}, changed
        )
        self.assertIn("zero.prefetch_units", lines[f"{zero}stage3_prefetch_bucket_size"])
        for key in ("offload_param.nvme_path", "stage3_gather_16bit_weights_on_model_save"):
            self.assertIn(zero + key, lines)

    def test_auto_of_hugging_face(self):
        configuration = {
            "fp16": {"enabled": "auto", "initial_scale_power": 14},
            "bf16": {"enabled": "auto"},
            "optimizer": {
                "type": "AdamW",
                "params": dict.fromkeys(("lr", "betas", "eps", "weight_decay"), "auto"),
            },
            "scheduler": {
                "type": "WarmupDecayLR",
                "params": dict.fromkeys(
                    ("total_num_steps", "warmup_min_lr", "warmup_max_lr", "warmup_num_steps"),
                    "auto",
                ),
            },
            "zero_optimization": {
                "stage": 3,
                "reduce_bucket_size": "auto",
                "stage3_param_persistence_threshold": "auto",
                "offload_param": {"device": "auto"},
            },
            "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto",
            "steps_per_print": math.inf,
            "train_batch_size": "auto",
            "train_micro_batch_size_per_gpu": "auto",
        }
        values, lines = self.checked(configuration, "--ranks", 2)
        expected = {
            "data.batch_size": "8",
            "train.micro_batches": "2",
            "train.gradient_clip": "1",
            "optimizer.lr": "5e-05",
            "optimizer.beta2": "0.999",
            "schedule.name": "warmup_linear",
            "schedule.total_steps": "0",
            "precision.dtype": "fp32",
            "zero.offload_parameters": "false",
            "monitor.log_every_steps": "auto",
        }
        self.assert_values(values, expected)
        self.assertIn("learning_rate", lines["optimizer.params.lr"])
        given = {
            "optimizer.lr": "0.002",
            "optimizer.beta1": "0.8",
            "optimizer.beta2": "0.9",
            "optimizer.eps": "1e-07",
            "optimizer.weight_decay": "0.1",
            "schedule.warmup_steps": "7",
            "precision.dtype": "fp16",
            "data.batch_size": "3",
            "train.micro_batches": "5",
            "train.gradient_clip": "2",
        }
        values, lines = self.checked(configuration, *(f"--{k}={v}" for k, v in given.items()))
        self.assert_values(values, {**given, "precision.loss_scale": "16384"})
        self.assertEqual([key for key, text in lines.items() if "default" in text], [])

    def test_one_cycle_of_sgd(self):
        base = {"train_micro_batch_size_per_gpu": 2}
        cycle = {"cycle_min_lr": 1e-4, "cycle_max_lr": 1e-3, "cycle_first_step_size": 30}
        values, lines = self.checked(
            {
                **base,
                "optimizer": {"type": "SGD", "params": {"momentum": 0.9, "nesterov": True}},
                "scheduler": {"type": "OneCycle", "params": {**cycle, "decay_lr_rate": 0.001}},
            }
        )
        self.assert_values(
            values,
            {
                "optimizer.name": "sgd",
                "optimizer.momentum": "0.9",
                "optimizer.nesterov": "true",
                "optimizer.lr": "0.001",
                "train.micro_batches": "0",  # the rank count, as DeepSpeed has it
                "schedule.name": "warmup_linear",
                "schedule.warmup_steps": "30",
                "schedule.total_steps": "60",
                "schedule.min_ratio": "0.1",
            },
        )
        for key in ("cycle_momentum", "decay_lr_rate", "cycle_min_lr"):
            self.assertIn(f"scheduler.params.{key}", lines)

    def test_muon(self):
        base = {"train_micro_batch_size_per_gpu": 2}
        muon = {"lr": 1e-3, "muon_lr": 0.03, "adam_lr": 4e-4, "ns_method": "gram"}
        values, lines = self.checked(
            {
                **base,
                "bf16": {"enabled": True},
                "optimizer": {"type": "Muon", "params": muon},
                "data_types": {"grad_accum_dtype": "bf16"},
            }
        )
        self.assert_values(
            values,
            {
                "optimizer.name": "muon",
                "optimizer.lr": "0.03",
                "optimizer.adam_lr": "0.0004",
                "optimizer.momentum": "0.95",
                "precision.reduce_dtype": "fp32",  # muon's tensors travel in fp32
            },
        )
        self.assertEqual(set(lines), {"optimizer.params.ns_method", "data_types.grad_accum_dtype"})

    def test_optimizers_that_are_not_offered(self):
        base = {"train_micro_batch_size_per_gpu": 2}
        for kind, params in (
            ("OneBitAdam", {"freeze_step": 300, "comm_backend_name": "nccl"}),
            ("Lamb", {"max_coeff": 0.3, "bias_correction": False}),
            ("Lion", {"betas": [0.9, 0.99]}),
            ("RMSprop", {"alpha": 0.9}),
        ):
            with self.subTest(kind):
                configuration = {**base, "optimizer": {"type": kind, "params": params}}
                values, lines = self.checked(configuration)
                self.assert_values(values, {"optimizer.name": "adamw", "optimizer.beta2": "0.999"})
                named = {"optimizer.type", *(f"optimizer.params.{key}" for key in params)}
                self.assertEqual(set(lines), named)
        values, lines = self.checked(
            {**base, "scheduler": {"type": "LRRangeTest", "params": {"lr_range_test_min_lr": 0.1}}},
            "optimizer.lr=0.01",
        )
        self.assert_values(values, {"schedule.name": "constant"})
        self.assertEqual(
            set(lines), {"scheduler.type", "scheduler.params.lr_range_test_min_lr"}
        )

    def test_rates_of_a_run_are_those_of_warmup_lr(self):
        configuration = {"train_batch_size": 4, "optimizer": ADAMW, "scheduler": WARMUP}
        deck, _ = self.convert(configuration, "--ranks=2", "model.d_model=16")
        small = ("num_encoder_layers=1", "num_decoder_layers=1", "num_heads=2", "d_ff=16")
        keys = [f"model.{key}" for key in small] + ["train.max_steps=4", "run.output_dir=out"]
        self.program("th_app", deck, *keys, ranks=2)
        for step in self.metrics(kind="step"):
            part = math.log(int(step["step"])) / math.log(40)
            expected = 1e-6 + (3e-4 - 1e-6) * part
            self.assertAlmostEqual(float(step["lr"]), expected, delta=1e-12)

    def test_a_plan_of_a_deck_without_text(self):
        done = self.tool(
            self.written({"train_batch_size": 8, "zero_optimization": {"stage": 3}}),
            "--ranks=4",
            "data.synthetic=random_ids",
            "data.vocab_size=100",
            "train.max_steps=2",
        )
        (self.folder / "made.in").write_text(done.stdout)
        result = self.program("th_app", "made.in", "--plan", "--plan.ranks=4")
        self.assertIn("stage 3", result.out)

    def test_paths_are_relative_to_where_they_are_given(self):
        (self.folder / "decks").mkdir()
        deck, _ = self.convert({"train_batch_size": 8})
        moved = deck.rename(self.folder / "decks" / "made.in")
        self.program("th_app", moved, "--check", "--data")


if __name__ == "__main__":
    th_run.main()
