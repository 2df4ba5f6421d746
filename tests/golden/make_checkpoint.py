#!/usr/bin/env python3
"""Makes tests/golden/checkpoint/step_00000005 and expected.json with build/bin/th_app: python3
tests/golden/make_checkpoint.py   (needs h5py)

Once for a format version, never again: the test program.golden_checkpoint shows that what an early
th_app wrote is read for ever.
"""

import json
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py

HERE = Path(__file__).resolve().parent / "checkpoint"
ROOT = HERE.parents[2]
STEP, LAST = 5, 9
KEPT_WHOLE = (
    "encoder.layers.0.self_attn.in_proj_weight",
    "decoder.layers.0.linear2.weight",
    "decoder.norm.bias",
    "output_projection.weight",
)
KINDS = ("parameters", "optimizer/exp_avg", "optimizer/exp_avg_sq")


def run(output, steps):
    command = (
        f'. "{ROOT}/tools/run_env.sh" && mpirun -np 2 "{ROOT}/build/bin/th_app" golden.in '
        f'run.output_dir="{output}" train.max_steps={steps}'
    )
    subprocess.run(["bash", "-c", command], cwd=HERE, check=True)


def main():
    target = HERE / f"step_{STEP:08d}"
    if target.exists():
        sys.exit(f"{target} is there; it is kept as it is")
    with tempfile.TemporaryDirectory() as folder:
        run(f"{folder}/whole", LAST)
        run(f"{folder}/out", STEP)
        shutil.copytree(Path(folder) / "out" / "checkpoints" / target.name, target)
        records = [
            json.loads(line)
            for line in (Path(folder) / "whole" / "metrics.jsonl").read_text().splitlines()
        ]
    expected = {
        "losses": {r["step"]: r["loss"] for r in records if r["kind"] == "step"},
        "values": {},
        "sums": {},
    }
    with h5py.File(target / "model.h5", "r") as file:
        expected["identity"] = file.attrs["identity"]
        for kind in KINDS:
            for name in file[kind]:
                values = [float(x) for x in file[kind][name][:].ravel()]
                expected["sums"][f"{kind}/{name}"] = math.fsum(values)
                if name in KEPT_WHOLE:
                    expected["values"][f"{kind}/{name}"] = values
    (HERE / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")


if __name__ == "__main__":
    main()
