#!/usr/bin/env python3
"""Several nodes, pretended on this machine by TH_FAKE_NODES: the header says so, bits are those of
one node, and what crosses between nodes is what --plan says; the start-up self-test stops a run
whose transport answers wrongly."""

import json
import re

import th_run

SYNTHETIC = {
    "data__train_source": "",
    "data__train_target": "",
    "data__valid_source": "",
    "data__valid_target": "",
    "data__synthetic": "random_ids",
    "data__vocab_size": 500,
    "data__synthetic_length": 16,
    "train__max_steps": 2,
    "train__micro_batches": 8,
    "checkpoint__every_epochs": 0,
}


class Nodes(th_run.ProgramTest):
    def on(self, nodes, **keys):
        """A run of four ranks on the pretended nodes; its output and its summary."""
        self.environment["TH_FAKE_NODES"] = nodes
        try:
            result = self.train(ranks=4, **{**SYNTHETIC, **keys})
        finally:
            del self.environment["TH_FAKE_NODES"]
        return result.out, self.metrics(keys["run__output_dir"], "summary")[0]

    def test_every_layout_has_the_bits_of_one_process_and_says_where_its_ranks_are(self):
        self.train(**SYNTHETIC, run__output_dir="alone")
        for stage, nodes, ranks in (
            (0, "2,2", "0-1; 2-3"),
            (2, "1,3", "0; 1-3"),
            (3, "cyclic:2", "0,2; 1,3"),
        ):
            out, summary = self.on(nodes, zero__stage=stage, run__output_dir=f"stage{stage}")
            self.assert_same_run(f"stage{stage}", "alone")
            self.assertRegex(
                out,
                rf"(?m)^pretended nodes +2 \(TH_FAKE_NODES={re.escape(nodes)}\): ranks "
                rf"{re.escape(ranks)}$",
            )
            self.assertRegex(out, r"(?m)^hosts +\S+ \(ranks 0-3\)$")
            self.assertRegex(
                out, r"(?m)^backend +shared-memory windows on 2 nodes, messages between them$"
            )
            self.assertRegex(
                out,
                r"(?m)^self-test +passed; exchange [0-9.]+ GB/s, all-gather [0-9.]+ GB/s that a "
                r"rank sends$",
            )
            crossed = [
                sum(
                    int(row["between_nodes"])
                    for row in summary["traffic"]
                    if row["collective"] != "control"
                )
            ]
            self.assertEqual(crossed, [int(summary["bytes_between_nodes"][0])])
            self.assertTrue(all(int(number) > 0 for number in summary["bytes_between_nodes"]))
            self.assertEqual(summary["planned_bytes"], summary["measured_bytes"])

    def test_blocks_send_a_sum_where_rounds_send_each_gradient(self):
        self.train(**SYNTHETIC, run__output_dir="alone")
        crossed = {}
        for name, dealing, stage, said in (
            ("auto", "auto", 0, "blocks (auto: fewer bytes between nodes)"),
            ("rounds", "rounds", 0, "rounds (as the deck says)"),
            ("blocks", "blocks", 2, "blocks (as the deck says)"),
            ("auto2", "auto", 2, "rounds (auto: the stage keeps no whole gradients)"),
        ):
            out, summary = self.on(
                "2,2", zero__stage=stage, comm__dealing=dealing, run__output_dir=name
            )
            self.assert_same_run(name, "alone")
            self.assertIn(f"Micro-batches are dealt in {said}\n", out)
            self.assertEqual(summary["planned_bytes"], summary["measured_bytes"])
            crossed[name] = [
                int(row["between_nodes"])
                for row in summary["traffic"]
                if row["collective"] == "exchange"
            ]
        self.assertEqual(len(crossed["rounds"]), 1)
        self.assertEqual([2 * n for n in crossed["auto"]], crossed["rounds"])
        self.assertEqual([2 * n for n in crossed["blocks"]], crossed["auto2"])

    def test_stage_3_by_node_gathers_nothing_in_a_step(self):
        self.train(**SYNTHETIC, run__output_dir="alone")
        summaries = {}
        for partition in ("world", "node"):
            out, summaries[partition] = self.on(
                "2,2", zero__stage=3, zero__partition=partition, run__output_dir=partition
            )
            self.assert_same_run(partition, "alone")
            self.assertEqual(
                summaries[partition]["planned_bytes"], summaries[partition]["measured_bytes"]
            )
        self.assertIn("Stage 3 by node", out)
        gathered = {
            name: int(row["between_nodes"])
            for name, summary in summaries.items()
            for row in summary["traffic"]
            if row["collective"] == "all_gather"
        }
        # Once a step; else twice in each of two rounds, but for the output.
        self.assertLess(gathered["node"], gathered["world"] / 2)

    def test_a_pair_of_ranks_without_a_link_is_named(self):
        self.environment.update(TH_FAIL_LINK="1-2", TH_LINK_SECONDS="1.5")
        result = self.train(ranks=3, code=7, **SYNTHETIC)
        for rank, other in ((1, 2), (2, 1)):
            self.assert_one_message_of_a_launch_that_was_ended(
                result,
                rf"^\[rank {rank} \S+\] error: broken launch: rank {rank} on \S+ and rank {other} "
                r"exchanged no message within 1\.5 s.* Interfaces of this host: \S+",
            )
        self.assertNotIn("rank 0 on", result.err)
        self.assertFalse((self.folder / "out").exists())
        self.environment["TH_LINK_SECONDS"] = "soon"
        self.assert_one_message(
            self.train(ranks=2, code=2, **SYNTHETIC), "TH_LINK_SECONDS=soon: a number of seconds"
        )

    def assert_one_message_of_a_launch_that_was_ended(self, result, pattern):
        lines = [line for line in result.err.splitlines() if re.search(pattern, line)]
        self.assertEqual(len(lines), 1, result)

    def test_what_crosses_between_nodes_is_planned(self):
        words = [*self.overrides(SYNTHETIC), "--plan", "plan.ranks=4", "plan.ranks_per_node=2"]
        text = self.program("th_app", th_run.DECK, *words).out
        row = re.search(r"(?m)^between nodes +(.*)$", text).group(1)
        planned = [float(word) for word in re.findall(r"[0-9]+\.[0-9]+", row)]
        self.assertEqual(len(planned), 4, "a number for each stage")
        # Stage 1 sends what 2 sends here; mpi.state_bytes compares it to the byte.
        for stage in range(4) if th_run.LONG else (0, 2, 3):
            crossed = []
            for steps in (2, 3):
                _, summary = self.on(
                    "2,2",
                    zero__stage=stage,
                    train__max_steps=steps,
                    run__output_dir=f"stage{stage}.{steps}",
                )
                crossed.append(int(summary["bytes_between_nodes"][0]))
                on_node, sent = int(summary["bytes_on_node"][0]), int(summary["bytes_sent"][0])
                self.assertEqual(on_node * 3, sent, "one of the three other ranks is on the node")
            # The plan's row has the norm's block sums and the losses too: 8 bytes for 256 elements,
            # a percent of the least here.
            self.assertAlmostEqual(
                (crossed[1] - crossed[0]) / 2**20 / planned[stage],
                1,
                delta=0.03,
                msg=f"stage {stage}",
            )
        self.assertNotIn(
            "between nodes",
            self.program(
                "th_app", th_run.DECK, *self.overrides(SYNTHETIC), "--plan", "plan.ranks=4"
            ).out,
        )

    def test_one_node_sends_nothing_between_nodes(self):
        self.train(ranks=2, **SYNTHETIC, run__output_dir="one")
        summary = self.metrics("one", "summary")[0]
        self.assertEqual(summary["bytes_between_nodes"], ["0", "0"])
        self.assertEqual(summary["bytes_on_node"], summary["bytes_sent"])
        self.assertEqual(json.dumps(summary).count("between_nodes"), 1 + len(summary["traffic"]))

    def test_a_wrong_answer_in_the_self_test_is_exit_7_before_anything_is_written(self):
        self.environment["TH_FAIL_SELF_TEST"] = "all_gather@1"
        result = self.train(ranks=2, code=7, **SYNTHETIC)
        self.assert_one_message(
            result,
            "self-test failed on rank [01]: all_gather: expected [0-9]+, seen [0-9]+ at element",
        )
        self.assertFalse((self.folder / "out").exists())

    def test_pretended_nodes_that_do_not_fit_the_launch_are_refused(self):
        for nodes, words in (
            ("1,2", ("it has 3 ranks", "the launch 2")),
            ("cyclic:9", ("cyclic:9",)),
            ("two", ("TH_FAKE_NODES=two",)),
        ):
            self.environment["TH_FAKE_NODES"] = nodes
            self.assert_one_message(
                self.train(ranks=2, code=2, **SYNTHETIC), "error", *words, "as in 2,2"
            )


if __name__ == "__main__":
    th_run.main()
