#!/usr/bin/env python3
"""Makes tests/golden/optimizers/optimizers.json: steps of torch.optim's SGD, Muon and Adafactor on
small tensors, and of Muon with its iterations in fp64.

python tests/golden/optimizers/make_optimizers.py   (torch from 2.11 on)
"""

import json
import math
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
STEPS = 3
RATE, MOMENTUM = 1.0, 0.95  # of Muon
SHAPES = ((6, 10), (10, 6), (8, 8), (9,))


def numbers(tensor):
    return [float(f"{x:.10g}") for x in tensor.detach().double().flatten()]


def short(tensor):
    """Values of three decimals, so that the file stays small, in fp32."""
    return (tensor * 1000).round().div(1000).float()


def drive(make, start, gradients, dtype):
    """The parameter after each step."""
    parameter = torch.nn.Parameter(start.to(dtype).clone())
    optimizer = make(parameter)
    after = []
    for gradient in gradients:
        parameter.grad = gradient.to(dtype).clone()
        optimizer.step()
        after.append(numbers(parameter))
    return after


def muon_in_fp64(start, gradients, nesterov, weight_decay, scale):
    """torch.optim.Muon's algorithm, everything in fp64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    lr, momentum = RATE, MOMENTUM
    parameter, buffer = start.double().clone(), torch.zeros_like(start, dtype=torch.float64)
    rows, columns = parameter.shape
    ratio = (
        math.sqrt(max(1, rows / columns))
        if scale == "original"
        else 0.2 * math.sqrt(max(rows, columns))
    )
    after = []
    for gradient in gradients:
        buffer.lerp_(gradient.double(), 1 - momentum)
        x = gradient.double().lerp(buffer, momentum) if nesterov else buffer.clone()
        x = x.T if rows > columns else x
        x = x / max(float(x.norm()), 1e-7)
        for _ in range(5):
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
        x = x.T if rows > columns else x
        parameter.mul_(1 - lr * weight_decay).sub_(x, alpha=lr * ratio)
        after.append(numbers(parameter))
    return after


def main():
    torch.manual_seed(20)
    cases = []
    for shape in SHAPES:
        start = short(torch.randn(shape) * 0.3)
        gradients = [short(torch.randn(shape)) for _ in range(STEPS)]
        case = {
            "shape": list(shape),
            "start": numbers(start),
            "gradients": [numbers(g) for g in gradients],
            "sgd": [],
            "muon": [],
            "adafactor": [],
        }
        for momentum, nesterov, decay in ((0.9, False, 0.0), (0.9, True, 0.01)):
            settings = {"momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
            after = drive(
                lambda p: torch.optim.SGD([p], lr=0.1, **settings), start, gradients, torch.float64
            )
            case["sgd"].append({**settings, "after": after})
        for decay, clip in ((0.0, 1.0), (0.02, 1.25)):
            settings = {"weight_decay": decay, "d": clip, "beta2_decay": -0.8}
            after = drive(
                lambda p: torch.optim.Adafactor(
                    [p], lr=0.05, eps=(2.0**-23, 1e-3), foreach=False, **settings
                ),
                start,
                gradients,
                torch.float64,
            )
            case["adafactor"].append({**settings, "after": after})
        if len(shape) == 2:
            for nesterov, decay, scale in (
                (True, 0.1, "original"),
                (False, 0.0, "match_rms_adamw"),
            ):
                settings = {"nesterov": nesterov, "weight_decay": decay}
                exact = muon_in_fp64(start, gradients, scale=scale, **settings)
                after = drive(
                    lambda p: torch.optim.Muon(
                        [p], lr=RATE, momentum=MOMENTUM, adjust_lr_fn=scale, **settings
                    ),
                    start,
                    gradients,
                    torch.float32,
                )
                case["muon"].append({**settings, "scale": scale, "exact": exact, "torch": after})
        cases.append(case)
    (HERE / "optimizers.json").write_text(
        json.dumps({"torch": torch.__version__.split("+")[0], "cases": cases}) + "\n"
    )


if __name__ == "__main__":
    main()
