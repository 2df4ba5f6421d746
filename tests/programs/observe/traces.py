"""A trace.json as tests read it, and runs that leave one."""

import collections
import json

import th_run

STEPS = 8  # an epoch of 6 steps with its validation, and a third of the next
LARGEST_ROUNDING_US = (
    1e-3  # times have three decimals, sums of two may be off by the last bit of a double
)
ARROWS = {"s": "first", "t": "between", "f": "last"}
COLLECTIVES = ("gather", "reduce", "norm", "border")  # in which all ranks come together


class Trace:
    """The events of a trace.json, by rank and name of the stream; each stream's checked to be in
    order and to nest. The arrows by id, and the counters by rank."""

    def __init__(self, test, path):
        self.text = path.read_text()
        self.all = json.loads(self.text, parse_constant=test.fail)
        self.ranks = {
            e["pid"]: e["args"]["name"]
            for e in self.all["traceEvents"]
            if e["name"] == "process_name"
        }
        self.threads = {
            (e["pid"], e["tid"]): e["args"]["name"]
            for e in self.all["traceEvents"]
            if e["name"] == "thread_name"
        }
        self.streams = collections.defaultdict(list)
        self.arrows = collections.defaultdict(list)
        self.counters = collections.defaultdict(list)
        for event in self.all["traceEvents"]:
            kind = event["ph"]
            if kind == "X":
                self.streams[self.thread_of(event)].append(event)
            elif kind in ARROWS:
                self.arrows[event["id"]].append(event)
            elif kind == "C":
                self.counters[event["pid"]].append(event)
            else:
                test.assertEqual(kind, "M")
        for (rank, stream), events in self.streams.items():
            self.check_order(test, f"rank {rank}, {stream}", events)

    def thread_of(self, event):
        return event["pid"], self.threads[event["pid"], event["tid"]]

    @staticmethod
    def check_order(test, where, events):
        around = []
        for before, event in zip([None, *events], events):
            test.assertGreaterEqual(event["dur"], 0, where)
            test.assertGreaterEqual(
                event["ts"],
                before["ts"] if before else 0,
                f"{where} runs backwards: {before} {event}",
            )
            while (
                around and around[-1]["ts"] + around[-1]["dur"] <= event["ts"] + LARGEST_ROUNDING_US
            ):
                around.pop()
            if around:
                test.assertLessEqual(
                    event["ts"] + event["dur"],
                    around[-1]["ts"] + around[-1]["dur"] + LARGEST_ROUNDING_US,
                    f"{where}: {event} ends after {around[-1]}, which it began in",
                )
            around.append(event)

    def count(self, rank, stream, kind):
        """How often (step, unit) is there, of one kind of events; those of validation and saves
        between the steps not counted."""
        steps = {
            e["args"]["step"]: (e["ts"], e["ts"] + e["dur"])
            for e in self.streams[rank, "host"]
            if e["cat"] == "step"
        }
        events = [e for e in self.streams[rank, stream] if e["cat"] == kind]
        return collections.Counter(
            (e["args"]["step"], e["args"].get("unit"))
            for e in events
            if steps[e["args"]["step"]][0] <= e["ts"] <= steps[e["args"]["step"]][1]
        )


class ProfiledTest(th_run.ProgramTest):
    def trace(self, run="out"):
        self.assertEqual(
            [p.name for p in (self.folder / run).iterdir() if p.name.startswith(".new_")],
            [],
            "a temporary file stayed",
        )
        return Trace(self, self.folder / run / "trace.json")

    def profiled(self, ranks=0, code=0, **keys):
        return self.train(
            ranks=ranks,
            code=code,
            **{
                "train__max_steps": STEPS,
                "profile__enabled": "true",
                "profile__first_step": 3,
                "profile__steps": 2,
                **keys,
            },
        )
