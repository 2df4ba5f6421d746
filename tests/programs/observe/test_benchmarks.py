#!/usr/bin/env python3
"""The benchmarks still run and report what they measured: small models, small buffers, no judgement
of any time. And the arithmetic of their scripts: medians and ratios of the peers' table, the
scaling model against numbers worked out by hand.
"""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

from th_run import BIN, SOURCE, ProgramTest, main

TINY = [
    "model.d_model=64",
    "model.num_heads=4",
    "model.num_encoder_layers=2",
    "model.num_decoder_layers=2",
    "model.d_ff=128",
    "data.vocab_size=500",
    "data.batch_size=2",
    "data.synthetic_length=8",
]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(path).parent))  # as when it is run: what lies beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def rows(text):
    """The cells of the rows of Markdown tables, without heads and rules."""
    lines = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return [
        cells
        for i, cells in enumerate(lines)
        if not set("".join(cells)) <= set("-: ")
        and (i + 1 == len(lines) or not set("".join(lines[i + 1])) <= set("-: "))
    ]


class Benchmarks(ProgramTest):
    def setUp(self):
        super().setUp()
        if not (BIN / "bench_step").exists():
            self.skipTest("the benchmarks are not built (Google Benchmark is missing)")

    def test_linear_compares_the_two_libraries_and_names_autos_choice(self):
        out = self.program("bench_linear", *TINY).out
        table = rows(out)
        self.assertEqual(len(table), 6 * 3, out)  # six layers, three products each
        for cells in table:
            onednn, mkl = float(cells[2]), float(cells[3])
            self.assertGreater(min(onednn, mkl), 0)
        self.assertRegex(
            out, r"run\.gemm=auto takes (onednn|mkl); the faster one here is (onednn|mkl)"
        )

    def test_step_reports_every_stage_and_checkpointing_from_one_rank(self):
        file = self.folder / "step.json"
        out = self.program(
            "bench_step", *TINY, f"--benchmark_out={file}", "--benchmark_out_format=json", ranks=2
        ).out
        names = [cells[0] for cells in rows(out)]
        self.assertEqual(
            names,
            [
                "matrix products alone, oneDNN",
                "forward + backward alone",
                "stage 0",
                "stage 1",
                "stage 2",
                "stage 3",
                "stage 0",
                "stage 0, checkpointing selective",
                "stage 0, checkpointing full",
                "stage 0, checkpointing sqrt",
            ],
        )
        seconds = {cells[0]: float(cells[1]) for cells in rows(out)}
        tokens = {cells[0]: float(cells[2]) for cells in rows(out)}
        self.assertGreater(min(tokens.values()), 0)
        model = load(SOURCE / "benchmarks/scaling_model.py")
        medians = model.medians(file)
        ratios = {
            cells[0]: float(cells[3])
            for cells in rows(out)
            if cells[4] == "the speed of forward + backward alone"
        }
        for stage in range(4):
            self.assertAlmostEqual(
                1 / model.beside(file, f"stage {stage}", "forward + backward"),
                ratios[f"stage {stage}"],
                delta=5.1e-4,
            )
            self.assertAlmostEqual(
                medians[f"stage {stage}"], seconds[f"stage {stage}"], delta=5.1e-5
            )  # four decimals in the table

    def test_collectives_report_every_transport(self):
        out = self.program("bench_collectives", "--benchmark_filter=/16384/", ranks=3).out
        small = next(
            cells for cells in rows(out) if cells[0] == "0.06"
        )  # 16384 floats, down to 3 shards of whole blocks
        self.assertEqual(len(small), 10)

    def test_kernels_run_and_become_a_table(self):
        for name, expected in (
            ("adam", "optimizer/adam"),
            ("loss", "cross_entropy/loss"),
            ("dropout", "apply"),
            ("attention", "attention/self_forward"),
            ("batcher", "step_batches"),
        ):
            file = self.folder / f"{name}.json"
            self.program(
                f"bench_{name}",
                f"--benchmark_filter=^{expected}(/|$)",
                "--benchmark_min_time=0.001",
                f"--benchmark_out={file}",
                "--benchmark_out_format=json",
            )
            done = subprocess.run(
                ["python3", SOURCE / "benchmarks/markdown_table.py", file],
                capture_output=True,
                text=True,
                check=True,
            )
            self.assertTrue(rows(done.stdout)[0][0].startswith(expected), done.stdout)

    def test_a_deck_without_random_ids_is_refused_once(self):
        result = self.program("bench_step", SOURCE / "inputs/stage2.in", code=2)
        self.assert_one_message(result, r"data\.synthetic=random_ids")


class Scripts(ProgramTest):
    def test_peers_table_takes_medians_of_ratios(self):
        peers = load(SOURCE / "benchmarks/peers/run_peers.py")
        run = {
            "ranks": 2,
            "th_app": {"tokens_per_second": 0, "peak_rss_bytes": 100 << 20},
            "peer": {"tokens_per_second": 100, "peak_rss_bytes": 400 << 20},
        }
        runs = [
            {**run, "th_app": {**run["th_app"], "tokens_per_second": speed}}
            for speed in (100, 300, 250)
        ]
        table = rows(peers.table({"stage0": runs, "fsdp": [{**run, "ranks": 4}]}, 2))
        self.assertEqual(
            table, [["stage 0", "PyTorch DDP", "250", "100", "2.50", "100", "400", "0.25", "3"]]
        )

    def test_scaling_model_adds_up(self):
        model = load(SOURCE / "benchmarks/scaling_model.py")
        flops, linear = model.slot_flops(
            {
                "model.d_model": "2",
                "model.d_ff": "3",
                "model.num_encoder_layers": "1",
                "model.num_decoder_layers": "1",
                "data.vocab_size": "7",
                "data.batch_size": "1",
                "data.synthetic_length": "5",
            }
        )
        # Encoder 4*4 + 2*6, decoder 8*4 + 2*6, output 14: 86 multiplications a row, 5 rows.
        # Attention: three of 2 * 5 * 5 * 2 multiplications.
        self.assertEqual((flops, linear), (3 * 2 * (86 * 5 + 300), 3 * 2 * 86 * 5))
        figures = {
            "gemm_gflops": 1e-9,
            "efficiency": 0.5,
            "sent_gbytes": {
                f"{call} {way}": 1.0
                for call in ("exact reduce-scatter", "all-gather")
                for way in ("window", "messages")
            },
            "latency_us": {"window": 1e6, "messages": 1e6},
            "adam_elements": 10,
        }
        model.volumes = lambda deck, ranks, slots: (100, [3e9, 3e9, 3e9, 6e9])
        setting = {"deck": None, "flops": 4, "units": 2}
        # Two ranks, four slots: two rounds of 8 s; 3 GB are two exchanges and one gather, which
        # moves nothing on a node; 2 units * 3 barriers of 1 s; Adam over 50.
        for stage in (0, 2):
            self.assertEqual(
                model.predict(figures, setting, 2, 4, stage, None),
                {"compute": 16, "exchange": 2, "gather": 0, "latency": 6, "update": 5},
            )
        # Each on a node of its own: a gather of 1 GB by 2 GB/s, and at stage 0 all is updated by
        # each.
        apart = model.predict(figures, setting, 2, 4, 0, (2e9, 0.0, 1))
        self.assertEqual((apart["gather"], apart["update"]), (0.5, 10))
        # Stage 3 gathers twice a round. Four ranks on two nodes: two of three peers are remote, two
        # ranks share a link of 2 GB/s; what arrives is summed at 1 GB/s.
        part = model.predict(figures, setting, 4, 4, 3, (2e9, 0.0, 2))
        self.assertAlmostEqual(part["exchange"], 1.5 * (1 / 3 + 2 / 3 * 2 / 2 + 2 / 3))
        self.assertAlmostEqual(part["gather"], 4.5 * 2 / 3 * 2 / 2)

    def test_plan_and_deck_are_read(self):
        model = load(SOURCE / "benchmarks/scaling_model.py")
        deck = SOURCE / "inputs/benchmark.in"
        keys = model.deck_keys(deck)
        self.assertEqual((keys["model.d_model"], keys["data.batch_size"]), ("512", "16"))
        parameters, sent = model.volumes(deck, 2, 2)
        output = 512 * 10000 + 10000 + 2 * 512  # projection, bias, norm: gathered once
        for stage, elements in enumerate(
            (2 * parameters, 2 * parameters, 2 * parameters, 3 * parameters - output)
        ):  # one round, times (N - 1) / N
            self.assertAlmostEqual(sent[stage], elements * 4 / 2, delta=0.01 * sent[stage])


if __name__ == "__main__":
    main()
