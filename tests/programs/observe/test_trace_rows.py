#!/usr/bin/env python3
"""What a trace shows beside events: arrows that join the ranks of a collective, memory, and rows
for data workers and saves."""

import collections

import th_run
import traces


class TraceRows(traces.ProfiledTest):
    def assert_joins_all_ranks(self, trace, ranks):
        """Each collective's arrows go from rank to rank in the order in which they came to it, and
        each end is in an event of that kind."""
        begins = collections.defaultdict(set)
        counts = collections.Counter()
        for (rank, stream), events in trace.streams.items():
            for event in events:
                if event["cat"] in traces.COLLECTIVES:
                    begins[rank, stream, event["cat"]].add(event["ts"])
                    counts[rank] += 1
        self.assertEqual(set(counts.values()), {len(trace.arrows)}, "every one is joined")
        for ends in trace.arrows.values():
            kinds = ["s", *"t" * (ranks - 2), "f"]
            self.assertEqual([end["ph"] for end in ends], kinds)
            self.assertEqual({end["pid"] for end in ends}, set(range(ranks)))
            self.assertEqual(len({(end["name"], end["cat"]) for end in ends}), 1)
            self.assertEqual(ends, sorted(ends, key=lambda end: end["ts"]))
            self.assertEqual([end.get("bp") for end in ends], [None] * (ranks - 1) + ["e"])
            for end in ends:
                self.assertIn(end["ts"], begins[(*trace.thread_of(end), end["name"])])

    def test_arrows_join_the_ranks_of_each_collective(self):
        for ranks, keys in (
            (2, {"zero__stage": 1}),
            (3, {"zero__stage": 3, "comm__overlap": "on", "train__valid_every_steps": 3}),
            (3, {"zero__stage": 2, "checkpoint__every_steps": 3}),
            (4, {"zero__stage": 0, "optimizer__name": "muon", "optimizer__lr": 0.001}),
        ):
            with self.subTest(ranks=ranks, **keys):
                self.profiled(ranks=ranks, **keys)
                trace = self.trace()
                self.assertGreater(len(trace.arrows), 20)
                self.assert_joins_all_ranks(trace, ranks)
        self.profiled(ranks=1)
        self.assertFalse(self.trace().arrows, "one rank is joined with nobody")

    def test_memory_counters_are_what_the_ledger_counted(self):
        self.profiled(
            ranks=2, zero__stage=2, profile__first_step=1, profile__steps=100, train__max_steps=4
        )
        trace = self.trace()
        summary = self.metrics(kind="summary")[0]
        self.assertEqual(summary["planned_bytes"], summary["measured_bytes"])
        for rank in range(2):
            counters = trace.counters[rank]
            self.assertEqual({c["name"] for c in counters}, {"memory"})
            self.assertEqual(counters, sorted(counters, key=lambda c: c["ts"]))
            largest = max(sum(c["args"].values()) for c in counters)
            self.assertEqual(str(largest), str(summary["measured_bytes"][rank]), "the peak")
            state = counters[-1]["args"]
            kinds = ("parameters", "gradients", "master", "exp_avg", "exp_avg_sq")
            of_state = sum(state.get(kind, 0) for kind in kinds)
            self.assertEqual(str(of_state), str(summary["model_state_bytes"][rank]))
            self.assertTrue(any(c["args"].get("activations", 0) > 0 for c in counters))
            self.assertEqual(state["activations"], counters[0]["args"].get("activations", 0))

    def test_data_workers_and_saves_have_rows(self):
        for workers, asynchronous in ((0, "false"), (1, "true"), (3, "true")):
            with self.subTest(workers=workers):
                self.profiled(
                    ranks=2,
                    data__num_workers=workers,
                    checkpoint__async=asynchronous,
                    checkpoint__every_steps=4,
                    profile__steps=5,
                )
                trace = self.trace()
                for rank in range(2):
                    saves = trace.streams[rank, "saves"]
                    self.assertEqual([e["name"] for e in saves], ["write step 4", "write step 6"])
                    reads = [
                        event
                        for (of, stream), events in trace.streams.items()
                        if of == rank and stream.startswith("data reading")
                        for event in events
                    ]
                    steps = sorted(e["args"]["step"] for e in reads)
                    self.assertEqual(len(set(steps)), len(steps))
                    for event in reads:
                        self.assertEqual(event["name"], f"read step {event['args']['step']}")
                    self.assertLessEqual({e["args"]["worker"] for e in reads}, {0, 1, 2})
                    if workers == 0:  # each step makes its own; others are ahead
                        self.assertEqual(steps, [3, 4, 5, 6, 7])


if __name__ == "__main__":
    th_run.main()
