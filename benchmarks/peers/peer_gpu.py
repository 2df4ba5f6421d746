#!/usr/bin/env python3
"""Trains the model of inputs/benchmark.in with PyTorch on one GPU, eager and by torch.compile, and
prints a JSON line for each: the other side of what tools/gpu_check.sh measures of th_app
run.device=cuda.

The same model, optimizer, clipping and random ids of a fixed shape as peer_train.py; bf16 is
autocast over fp32 weights, products of fp32 run without TF32, as th_app's do. Reported: source and
decoder-input tokens a second over the timed steps, products' TFLOP/s and, where the device's peak
is known, their share of it, the peak of allocated device memory.
"""

import json
import sys
import time

import torch
from torch import nn

import peer_train

# Dense products on the SXM boards, by the vendor's data sheets.
BF16_PEAK_TFLOPS = {"A100": 312, "H100": 989, "H200": 989}


def products_per_token(options):
    """Floating point operations of forward and backward products for one token of source and
    decoder input together, in the mean of the two."""
    d, f, length, layers = options.d_model, options.d_ff, options.length, options.layers
    encoder = 4 * d * d + 2 * d * f + 2 * length * d
    decoder = 8 * d * d + 2 * d * f + 4 * length * d
    return 3 * 2 * (layers * (encoder + decoder) + d * options.vocabulary) / 2


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def make_step(options, mode, device, dtype):
    """A function that makes one training step on random ids and returns its loss."""
    torch.manual_seed(1)
    model = peer_train.Seq2Seq(options).to(device)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), fused=device == "cuda", **peer_train.ADAM)
    network = torch.compile(model) if mode == "compile" else model
    cross_entropy = nn.CrossEntropyLoss(ignore_index=0)
    generator = torch.Generator(device).manual_seed(100)

    def ids(length):
        return torch.randint(
            1, options.vocabulary, (options.batch, length), generator=generator, device=device
        )

    def step():
        source, target = ids(options.length), ids(options.length + 1)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bf16"):
            logits = network(source, target[:, :-1])
            loss = cross_entropy(
                logits.reshape(-1, options.vocabulary).float(), target[:, 1:].reshape(-1)
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return step


def measure(options, mode, device, dtype):
    step = make_step(options, mode, device, dtype)
    for _ in range(options.warmup):
        step()
    synchronize(device)
    start = time.perf_counter()
    for _ in range(options.steps):
        loss = step()
    synchronize(device)
    rate = options.steps * options.batch * options.length * 2 / (time.perf_counter() - start)
    tflops = rate * products_per_token(options) * 1e-12
    result = {
        "engine": mode,
        "dtype": dtype,
        "batch": options.batch,
        "tokens_per_second": rate,
        "tflops": tflops,
        "loss": loss.item(),
    }
    if device == "cuda":
        name = torch.cuda.get_device_name()
        result["device"] = name
        result["peak_device_bytes"] = torch.cuda.max_memory_allocated()
        peak = next((value for key, value in BF16_PEAK_TFLOPS.items() if key in name), None)
        if peak and dtype == "bf16":
            result["share_of_peak"] = tflops / peak
    return result


def main():
    parser = peer_train.make_parser(__doc__)
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try the script"
    )
    parser.add_argument(
        "--modes", nargs="+", choices=("eager", "compile"), default=("eager", "compile")
    )
    parser.add_argument("--fp32", action="store_true", help="in place of bf16")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("skipped: this PyTorch sees no GPU")
        sys.exit(77)
    torch.set_float32_matmul_precision("highest")
    for mode in options.modes:
        print(
            json.dumps(measure(options, mode, options.device, "fp32" if options.fp32 else "bf16")),
            flush=True,
        )


if __name__ == "__main__":
    main()
