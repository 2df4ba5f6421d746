#!/usr/bin/env python3
"""profile.*: trace.json at several rank counts and stages, on the CPU and on the plugin that stands
in for a GPU; what it shows, that it changes no bits and no planned bytes, and what there is of a
window that a run does not go through."""

import collections
import re
import signal

import th_run
import traces
from traces import STEPS

FAKE = th_run.BIN.parent / "fake_cuda"
UNITS = ["source_embedding", "encoder.layers.0", "target_embedding", "decoder.layers.0", "output"]


class Profile(traces.ProfiledTest):
    def assert_has_the_steps(self, trace, ranks, steps, slots=8):
        """Each rank is there, with every unit's passes and reductions for each of its slots."""
        self.assertEqual(sorted(trace.ranks), list(range(ranks)))
        for rank in range(ranks):
            mine, rounds = len(range(rank, slots, ranks)), -(-slots // ranks)
            expected = {
                (step, unit): rounds for step in steps for unit in UNITS
            }  # also where a rank has no slot: it takes part in the collectives
            without_output = {
                key: count for key, count in expected.items() if key[1] != "output"
            }  # its forward pass is part of its backward pass
            self.assertEqual(trace.count(rank, "compute", "backward"), expected)
            forward = trace.count(rank, "compute", "forward")
            self.assertEqual({key: forward[key] for key in without_output}, without_output)
            self.assertEqual(trace.count(rank, "communication", "reduce"), expected)
            self.assertEqual(
                trace.count(rank, "host", "slot"), {(step, None): mine for step in steps}
            )
            for stream, kind in (
                ("host", "step"),
                ("host", "batch"),
                ("host", "optimizer"),
                ("compute", "norm"),
            ):
                self.assertEqual(
                    trace.count(rank, stream, kind), {(step, None): 1 for step in steps}, kind
                )
            of_slots = {
                e["args"]["slot"]
                for e in trace.streams[rank, "compute"]
                if e["cat"] == "backward" and "slot" in e["args"]
            }
            self.assertEqual(of_slots, set(range(rank, slots, ranks)))

    def assert_tells_of_its_trace(self, result, ranks, overlap):
        """The run says before and after which steps it traces; off means that nothing overlaps."""
        self.assert_one_message(
            result, "^Profile: steps 3 to 4 of all ranks, to .*/out/trace.json$"
        )
        line = (
            rf"^Trace of steps 3 to 4, {ranks} ranks?, [0-9]+ events: "
            r".*/out/trace\.json\. Rank 0: compute \S+ s, communication \S+ s, "
            r"(\S+) % of it"
        )
        self.assert_one_message(result, line)
        self.assertIn("Trace of steps 3 to 4", (self.folder / "out" / "run.log").read_text())
        self.assert_one_message(
            result,
            rf"^Time of steps 3 to 4, {ranks} ranks?, [0-9.]+ ms each: compute [0-9.]+ %,",
        )
        self.assertRegex(result.out, "(?m)^Verdict: [0-9c].*[.]$")
        told = self.trace().all["otherData"]
        self.assertIn(told["verdict 1"], result.out)
        self.assertTrue(told["verdict 2"].startswith("Verdict: "), told)
        if overlap == "off":
            share = re.search(line, result.out, re.M).group(1)
            self.assertEqual(share, "0.0", "one thread does both in turn")

    def assert_has_updates_and_gathers(self, trace, rank, gathers):
        """Each unit is updated once a step and gathered as often as asked."""
        self.assertEqual(
            trace.count(rank, "compute", "update"),
            {(step, unit): 1 for step in (3, 4) for unit in UNITS},
        )
        found = trace.count(rank, "communication", "gather")
        for unit in UNITS:
            # Forward and backward of the output unit follow each other: one gather serves both.
            once = unit == "output" and gathers > 1
            self.assertEqual(found[3, unit], gathers // 2 if once else gathers, unit)

    def test_every_rank_shows_all_passes_and_collectives_of_each_step_and_the_bits_stay(self):
        self.train(run__output_dir="whole", train__max_steps=STEPS)
        for ranks, keys in (
            (1, {"zero__stage": 3, "comm__overlap": "on"}),
            (2, {"zero__stage": 3, "comm__overlap": "off"}),
            (3, {"zero__stage": 0, "comm__overlap": "on"}),
        ):
            with self.subTest(ranks=ranks, **keys):
                result = self.profiled(ranks=ranks, **keys)
                self.assert_tells_of_its_trace(result, ranks, keys.get("comm__overlap"))
                trace = self.trace()
                self.assert_has_the_steps(trace, ranks, (3, 4))
                for rank, name in trace.ranks.items():
                    self.assertTrue(name.endswith("(cpu)"), name)
                    self.assertTrue(name.startswith(f"rank {rank} on "), name)
                # At stage 3 one for each pass of a slot, at the others one for the update.
                gathers = 2 * -(-8 // ranks) if keys["zero__stage"] == 3 else 1
                for rank in range(ranks):
                    self.assert_has_updates_and_gathers(trace, rank, gathers)
                self.assertTrue(
                    all(e["args"]["bytes"] > 0 for e in trace.streams[0, "communication"])
                )
                self.assert_same_run("out", "whole")
                summary = self.metrics(kind="summary")[0]
                self.assertEqual(summary["planned_bytes"], summary["measured_bytes"])

    def test_tied_embeddings_recomputation_validation_and_saves_are_in_it(self):
        self.profiled(
            ranks=2,
            zero__stage=3,
            comm__overlap="on",
            model__tie_embeddings="true",
            data__tokenizer="word",
            profile__steps=100,
            model__gradient_checkpointing="sqrt",
            model__num_encoder_layers=4,
            train__valid_every_steps=4,
            checkpoint__every_steps=3,
        )
        trace = self.trace()
        self.assertEqual(
            trace.all["otherData"]["steps"], "steps 3 to 8", "the run's end ends the window"
        )
        for rank in range(2):
            kinds = collections.Counter(e["cat"] for e in trace.streams[rank, "host"])
            self.assertEqual((kinds["step"], kinds["validation"]), (6, 3), "after steps 4, 6 and 8")
            self.assertEqual(kinds["checkpoint"], 3, "after steps 3, 6 and 8")
            forward = trace.count(rank, "compute", "forward")
            self.assertEqual(
                [forward[5, f"encoder.layers.{layer}"] for layer in range(4)],
                [8, 4, 8, 4],
                "a segment's first layer is computed again by itself",
            )

    def test_nodes_clocks_are_put_in_line(self):
        # Pretended nodes have one clock: an offset of 0 has to lie within the error that the trace
        # tells.
        self.environment["TH_FAKE_NODES"] = "2,1"
        self.profiled(ranks=3, zero__stage=1, comm__dealing="rounds")
        trace = self.trace()
        self.assert_has_the_steps(trace, 3, (3, 4))
        clocks = {
            name: re.fullmatch(r"(-?[0-9]+) ns taken off, right to ([0-9]+) ns", text)
            for name, text in trace.all["otherData"].items()
            if name.startswith("clock")
        }
        self.assertEqual(list(clocks), ["clock of rank 2"])
        offset, error = map(int, clocks["clock of rank 2"].groups())
        self.assertLessEqual(abs(offset), error)

    def test_a_stop_ends_the_window_and_a_resume_traces_the_rest(self):
        keys = {
            "zero__stage": 2,
            "train__epochs": 500,
            "profile__first_step": 2,
            "profile__steps": 1000000,
        }
        process = self.start(ranks=2, **keys, profile__enabled="true")
        self.wait_for_steps(process, 3)
        process.send_signal(signal.SIGUSR1)
        self.assertEqual(process.wait(th_run.LIMIT_S), 75, self.started_log())
        last = int(self.metrics(kind="step")[-1]["step"])
        self.assert_has_the_steps(self.trace(), 2, range(2, last + 1))
        self.profiled(checkpoint__resume="latest", **{**keys, "train__max_steps": last + 2})
        self.assert_has_the_steps(self.trace(), 1, (last + 1, last + 2))
        self.train(run__output_dir="whole", train__epochs=500, train__max_steps=last + 2)
        self.assert_same_run("out", "whole")

    def test_a_window_outside_of_the_run_is_a_warning(self):
        result = self.profiled(train__max_steps=4, profile__first_step=50)
        self.assert_one_message(
            result,
            r"^warning: profile\.first_step and profile\.steps ask for steps 50 to 51, and this "
            r"run had steps 1 to 4: there is no",
        )
        self.assertFalse((self.folder / "out" / "trace.json").exists())
        result = self.profiled(
            train__max_steps=5, profile__first_step=2, checkpoint__resume="latest"
        )
        self.assert_one_message(
            result,
            r"^warning: profile\.first_step and profile\.steps ask for steps 2 to 3, and this "
            r"run had step 5: there is no",
        )
        result = self.profiled(
            train__max_steps=1,
            profile__first_step=2**63 - 1,
            profile__steps=2**63 - 1,
            run__output_dir="far",
        )
        self.assert_one_message(
            result,
            "^warning: profile.first_step and profile.steps ask for step 9223372036854775807, ",
        )

    def test_an_error_leaves_what_there_is(self):
        result = self.profiled(
            ranks=2,
            code=6,
            optimizer__lr="1e30",
            schedule__name="constant",
            train__gradient_clip=0,
            train__max_steps=20,
            profile__first_step=2,
            profile__steps=50,
        )
        self.assert_one_message(result, "^error: ", "not finite")
        self.assert_one_message(result, "^Trace of steps? 2", "2 ranks")
        trace = self.trace()
        self.assertEqual(sorted(trace.ranks), [0, 1])
        self.assertIn((2, "output"), trace.count(1, "compute", "backward"))
        # An error that others may not have: rank 0 has its own.
        self.environment["TH_FAIL_SAVE"] = "1@1"
        result = self.profiled(
            ranks=2, code=5, checkpoint__every_steps=4, profile__steps=50, run__output_dir="alone"
        )
        self.assert_one_message(result, "^Trace of steps 3 to [4-8], 1 rank")
        trace = self.trace("alone")
        self.assertEqual(sorted(trace.ranks), [0])
        self.assertIn((4, "output"), trace.count(0, "compute", "backward"))

    def test_a_trace_that_cannot_be_written_is_a_warning(self):
        (self.folder / "out" / "trace.json").mkdir(parents=True)
        (self.folder / "out" / "manifest").write_text("trace.json\n")  # th_app's own
        result = self.profiled()
        self.assert_one_message(
            result,
            r"^warning: .*out/trace\.json was not written: .*trace\.json is no ordinary file",
        )
        self.assertEqual(self.metrics()[-1]["exit"], "completed")

    def test_without_it_there_is_no_trace_and_its_keys_have_no_effect(self):
        result = self.train(train__max_steps=2, profile__steps=1)
        self.assert_one_message(
            result, "warning: .*profile.steps has no effect: profile.enabled is false"
        )
        self.assertFalse((self.folder / "out" / "trace.json").exists())
        self.assertNotIn("Profile", result.out)

    def test_a_gpus_streams_are_in_it(self):
        if not (FAKE / "libth_cuda.so").exists():
            self.skipTest("this build has no CUDA plugin (TH_WITH_CUDA)")
        # The stand-in has no attention in one kernel, which rounds in another way than products.
        products = {"run__attention": "products"}
        self.train(run__output_dir="whole", train__max_steps=STEPS, **products)
        self.environment.update(TH_CUDA_PLUGIN=str(FAKE), TH_FAKE_GPU_SUMS="cpu", TH_FAKE_GPUS="2")
        both = {"zero__offload_optimizer": "true", "zero__offload_parameters": "true"}
        for keys in (
            {"zero__stage": 3, **both},
            {"zero__stage": 3, "comm__backend": "mpi"},
        ):
            with self.subTest(**keys):
                self.profiled(ranks=2, run__device="cuda", **products, **keys)
                trace = self.trace()
                self.assert_has_the_steps(trace, 2, (3, 4))
                self.assertRegex(trace.ranks[1], r"^rank 1 on \S+ \(cuda:1 Fake GPU\)$")
                for rank in range(2):
                    self.assertEqual(
                        trace.count(rank, "batch copies", "batch"),
                        {(step, None): 4 for step in (3, 4)},
                    )
                    # Each gather of an offloaded shard, and each unit's gradient on its way to an
                    # offloaded optimizer.
                    brought = collections.Counter(
                        {(step, unit): 1 for step in (3, 4) for unit in UNITS}
                    )
                    fetched = (
                        trace.count(rank, "communication", "gather") + brought
                        if "zero__offload_parameters" in keys
                        else collections.Counter()
                    )
                    self.assertEqual(trace.count(rank, "copies", "fetch"), fetched)
                    self.assertEqual(
                        trace.count(rank, "host", "result"), {(step, None): 1 for step in (3, 4)}
                    )
                    on = "host" if "zero__offload_optimizer" in keys else "compute"
                    self.assertEqual(
                        trace.count(rank, on, "update"),
                        {(step, unit): 1 for step in (3, 4) for unit in UNITS},
                    )
                self.assert_same_run_of_a_gpu("out", "whole")
                summary = self.metrics(kind="summary")[0]
                self.assertEqual(summary["planned_bytes"], summary["measured_bytes"])


if __name__ == "__main__":
    th_run.main()
