#!/usr/bin/env python3
"""--plan: what it says agrees with what a run then takes, sends and writes; what does not fit is
exit 4, with advice."""

import re
import subprocess

import th_run

SYNTHETIC = {
    "data.train_source": "",
    "data.train_target": "",
    "data.valid_source": "",
    "data.valid_target": "",
    "data.synthetic": "random_ids",
    "data.vocab_size": 500,
    "data.synthetic_length": 16,
    "train.max_steps": 2,
    "train.micro_batches": 4,
    "checkpoint.every_epochs": 0,
    "checkpoint.every_steps": 1,
}
CLASSES = ("parameters", "gradients", "exp_avg", "exp_avg_sq", "total")


class Plan(th_run.ProgramTest):
    planned = {}  # words of the command line -> what --plan answered, for all tests

    def plan(self, code=0, ranks=2, **keys):
        merged = {**SYNTHETIC, **{key.replace("__", "."): value for key, value in keys.items()}}
        words = (*self.overrides(merged), f"plan.ranks={ranks}")
        if words not in self.planned:
            answer = self.program("th_app", th_run.DECK, *words, "--plan", code=code)
            self.planned[words] = answer.out
        return self.planned[words]

    def row(self, text, name):
        """The numbers of the first line that begins with the name."""
        line = next(line for line in text.splitlines() if line.startswith(name + " "))
        return [float(word) for word in re.findall(r"[0-9]+\.[0-9]+", line)]

    def test_the_table_is_what_a_run_takes_at_every_stage(self):
        text = self.plan()
        totals, sent = self.row(text, "total"), self.row(text, "bytes sent a step")
        for stage in range(4):
            keys = {key.replace(".", "__"): value for key, value in SYNTHETIC.items()}
            for steps in (2, 4):
                run = f"stage{stage}.{steps}"
                self.train(
                    ranks=2,
                    zero__stage=stage,
                    run__output_dir=run,
                    **{**keys, "train__max_steps": steps},
                )
            summary = self.metrics(run, "summary")[0]
            sent_in_two = int(summary["bytes_sent"][0]) - int(
                self.metrics(f"stage{stage}.2", "summary")[0]["bytes_sent"][0]
            )
            measured = max(map(int, summary["measured_bytes"])) / 2**20
            self.assertAlmostEqual(totals[stage] / measured, 1, delta=0.05, msg=f"stage {stage}")
            # bytes_sent leaves the scalars out: block sums and losses, which the plan's row has.
            self.assertAlmostEqual(
                sent[stage] / (sent_in_two / 2 / 2**20), 1, delta=0.02, msg=f"stage {stage}"
            )

    def test_states_averages_and_whole_tensors_are_in_it(self):
        plain = self.plan(ranks=3)
        keys = {"optimizer__name": "muon", "optimizer__lr": 0.02, "schedule__name": "constant"}
        muon = self.plan(ranks=3, **keys)
        # States of matrices and of the rest: more than one, less than two of Adam's.
        adam = sum(self.row(plain, name)[1] for name in ("exp_avg", "exp_avg_sq"))
        states = sum(
            self.row(muon, name)[1] for name in ("exp_avg", "exp_avg_sq", "momentum_buffer")
        )
        self.assertGreater(states, 0.5 * adam)
        self.assertLess(states, 1.1 * adam)
        self.assertEqual(len(set(self.row(muon, "momentum_buffer"))), 1, "sharded at stage 0 too")
        self.assertGreater(
            self.row(muon, "bytes sent a step")[1], self.row(plain, "bytes sent a step")[1]
        )
        self.assertRegex(muon, r"s of the update of whole tensors \([0-9]+ GFLOP")
        self.assertNotIn("whole tensors", plain)
        short = self.plan(ranks=3, optimizer__state_dtype="bf16", train__ema_decay=0.99)
        self.assertAlmostEqual(self.row(short, "exp_avg")[1], adam / 4, delta=0.02)
        self.assertAlmostEqual(self.row(short, "ema")[1], adam / 2, delta=0.02)

    def test_it_needs_no_ranks_and_covers_what_users_choose_between(self):
        text = self.plan(ranks=64, train__micro_batches=64)
        self.assertIn("64 ranks", text)
        for name in (
            "none",
            "selective",
            "full",
            "sqrt",
            "fp32",
            "bf16, reduced fp32",
            "bf16, reduced bf16",
            "device + host",
        ):
            self.assertRegex(text, rf"(?m)^{re.escape(name)} ", name)
        self.assertRegex(text, r"sqrt keeps about .* (pays|pay)")
        self.assertRegex(text, r"A checkpoint takes .*, .* are free below")
        self.assertRegex(
            text, r"A step takes about [0-9.]+ s: .* GFLOP/s .* an assumption, set plan.link_gbytes"
        )
        self.assertRegex(
            text,
            r"The largest data.batch_tokens that fits is about [0-9]+, or data.batch_size [0-9]+\.",
        )
        self.assertIn("It fits.", text)
        alone = self.plan(plan__link_gbytes=10, plan__gpu_gbytes=80, run__device="cuda")
        self.assertIn(
            "Any data.batch_tokens up to 1048576 fits.",
            alone,
            "more than a deck may ask for is not searched",
        )
        self.assertRegex(self.plan(plan__link_gbytes=10), r"at plan.link_gbytes=10\.")

    def test_sharding_and_16_bits_take_less_and_checkpointing_too(self):
        text = self.plan(
            ranks=8,
            train__micro_batches=8,
            model__num_encoder_layers=12,
            model__num_decoder_layers=12,
            data__synthetic_length=64,
        )
        totals = self.row(text, "total")
        self.assertEqual(totals, sorted(totals, reverse=True))
        none, full, root = (self.row(text, kind)[0] for kind in ("none", "full", "sqrt"))
        self.assertGreater(none, full)
        self.assertGreater(full, root)
        self.assertIn("it pays where memory is short", text)

    def test_a_stage_that_costs_more_than_the_one_below_is_named(self):
        # One rank shards nothing: stage 2 has a unit's gradient on top, on a GPU stage 3 the gather
        # slots too; on a CPU units are read in place.
        for device, stages in (("cpu", {2}), ("cuda", {2, 3})):
            text = self.plan(ranks=1, run__device=device)
            for stage in (1, 2, 3):
                self.assertEqual(
                    f"Stage {stage} takes more memory here than stage {stage - 1}" in text,
                    stage in stages,
                    text,
                )

    def test_what_a_node_has_once_is_counted_once_where_it_must_fit(self):
        keys = {"ranks": 8, "train__micro_batches": 8, "model__d_model": 512, "model__d_ff": 2048}
        text = self.plan(zero__stage=0, **keys)
        once = self.row(text, "once a node")
        parameters, moments = self.row(text, "parameters"), self.row(text, "exp_avg")
        self.assertAlmostEqual(once[0], parameters[0] + 2 * moments[0], delta=0.02)
        self.assertEqual(once[1:], [parameters[1], parameters[2], 0])
        taken = float(re.search(r"the deck's run takes ([0-9.]+) MiB a rank", text).group(1))
        self.assertAlmostEqual(taken, self.row(text, "total")[0] - once[0] * 7 / 8, delta=0.02)
        apart = self.plan(zero__stage=0, plan__ranks_per_node=1, **keys)
        self.assertEqual(self.row(apart, "once a node")[:3], [0, 0, 0])
        taken = float(re.search(r"the deck's run takes ([0-9.]+) MiB a rank", apart).group(1))
        self.assertAlmostEqual(taken, self.row(apart, "total")[0], delta=0.02)

    def test_what_does_not_fit_is_exit_4_with_advice_in_order(self):
        text = self.plan(
            code=4, data__batch_size=1000000, data__synthetic_length=2048, zero__stage=0
        )
        advice = text[text.index("It does not fit.") :]
        words = (
            "data.batch_size=500000",
            "data.batch_size=62500",
            "gradient_checkpointing=full",
            "zero.stage=2",
            "zero.offload_optimizer",
            "more nodes",
        )
        places = [advice.index(word) for word in words]
        self.assertEqual(places, sorted(places))
        self.assertNotIn(
            "zero.stage=1", advice
        )  # stage 0's states are there once a node: stage 1 takes no less
        amounts = [float(number) for number in re.findall(r": ([0-9.]+) GiB a rank", advice)]
        self.assertEqual(amounts, sorted(amounts, reverse=True), "advice that makes it worse")

    def test_a_run_on_a_gpu_is_planned_without_one(self):
        text = self.plan(run__device="cuda")
        self.assertRegex(
            text,
            r"Of a GPU a rank takes [0-9.]+ [KMG]iB \((training|update|validation)\); "
            r"plan\.gpu_gbytes says what it has",
        )
        self.assertIn("The time of a step on a GPU is not estimated", text)
        self.assertRegex(
            self.plan(run__device="cuda", plan__gpu_gbytes=80),
            r"On a GPU of 80 GB a rank takes .*: it fits(.|\n)*It fits\.",
        )
        text = self.plan(code=4, run__device="cuda", plan__gpu_gbytes=0.3, data__batch_size=20000)
        self.assertRegex(
            text,
            r"data\.batch_size=10000: [0-9.]+ [MG]iB of the GPU and [0-9.]+ [KMG]iB of the host "
            r"a rank",
        )

    def test_a_gpu_has_a_limit_of_its_own_which_offload_eases(self):
        keys = {"model__d_model": 512, "model__d_ff": 2048, "ranks": 1, "zero__stage": 1}
        self.assertIn("it fits", self.plan(plan__gpu_gbytes=80, **keys))
        self.assertIn("it does not fit", self.plan(code=4, plan__gpu_gbytes=0.2, **keys))
        text = self.plan(plan__gpu_gbytes=0.2, zero__offload_optimizer="true", **keys)
        self.assertRegex(
            text,
            r"On a GPU of 0.2 GB a rank takes [0-9.]+ MiB of it, the rest is the host's: it fits",
        )

    def test_advice_for_a_gpu_looks_at_both_memories(self):
        keys = {
            "model__d_model": 512,
            "model__d_ff": 2048,
            "ranks": 1,
            "zero__stage": 1,
            "data__batch_size": 1,
        }
        text = self.plan(code=4, plan__gpu_gbytes=0.2, **keys)
        advice = text[text.index("It does not fit.") :].strip().splitlines()
        self.assertRegex(
            advice[-1],
            r"^  zero.offload_optimizer=true: [0-9.]+ MiB of the GPU and [0-9.]+ MiB of the host "
            r"a rank, fits$",
        )
        device = float(re.search(r"takes ([0-9.]+) MiB of it", text).group(1))
        for line in advice[1:]:
            now = float(re.search(r": ([0-9.]+) MiB of the GPU", line).group(1))
            self.assertLess(now, device, "advice that makes it worse")
            device = now

    def test_the_other_reduction_is_in_the_table(self):
        # Four slots on two ranks are two rounds: exact sends each, fast their sum; from stage 2 on
        # every round is reduced either way.
        exact, fast = self.plan(), self.plan(comm__reduction="fast")  # exact is the default
        self.assertEqual(self.row(exact, "  reduction=fast"), self.row(fast, "bytes sent a step"))
        self.assertEqual(self.row(fast, "  reduction=exact"), self.row(exact, "bytes sent a step"))
        self.assertLess(
            self.row(exact, "  reduction=fast")[0], self.row(exact, "bytes sent a step")[0]
        )

    def test_a_limit_of_the_address_space_counts(self):
        limit = str(64 << 20)  # KiB; LibTorch alone reserves gigabytes
        words = self.command(
            "th_app", [th_run.DECK, *self.overrides(SYNTHETIC), "--plan", "plan.ranks=2"], 0
        )
        text = subprocess.run(
            ["bash", "-c", 'ulimit -v "$0"; exec "$@"', limit, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        self.assertRegex(text, r"ulimit -v leaves [0-9.]+ GiB to a process")
        self.assertNotIn("ulimit", self.plan())

    def test_advice_ends_where_it_fits(self):
        text = self.plan(code=4, data__batch_size=600000)
        self.assertRegex(
            text.rstrip().splitlines()[-1], r"data.batch_size=[0-9]+: .* a rank, fits$"
        )

    def test_ranks_on_many_nodes_and_more_than_the_corpus_feeds(self):
        text = self.program(
            "th_app",
            th_run.DECK,
            *self.overrides({"data.batch_size": 512, "train.micro_batches": 0}),
            "--plan",
            "--plan.ranks=4096",
            "--plan.ranks_per_node=2",
        ).out
        self.assertIn("for the 2 ranks on it", text)
        self.assertIn("Largest micro-batch: 480 sentences", text, "the corpus has no more")

    def test_a_run_whose_activations_do_not_fit_ends_before_it_allocates(self):
        keys = {**SYNTHETIC, "data.batch_size": 1048576, "data.synthetic_length": 512}
        result = self.program("th_app", th_run.DECK, *self.overrides(keys), ranks=2, code=4)
        self.assert_one_message(result, "does not fit into the memory", "activations", "--plan")

    def test_a_run_whose_state_does_not_fit_ends_before_it_allocates(self):
        keys = {**SYNTHETIC, "model.d_model": 65536, "model.d_ff": 262144, "model.num_heads": 64}
        result = self.program("th_app", th_run.DECK, *self.overrides(keys), code=4)
        self.assert_one_message(result, "does not fit into the memory", "parameters", "--plan")

    def test_a_step_says_planned_against_measured_by_class(self):
        out = self.train(zero__stage=1, train__max_steps=1).out
        line = next(line for line in out.splitlines() if line.startswith("Memory of a rank"))
        self.assertRegex(
            line,
            r"planned [0-9.]+ MiB, measured [0-9.]+ MiB \([+-][0-9.]+ %\): parameters [0-9.]+ "
            r".iB / [0-9.]+ .iB \([+-][0-9.]+ %\), gradients ",
        )


if __name__ == "__main__":
    th_run.main()
