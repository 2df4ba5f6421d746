#!/usr/bin/env python3
"""Make the golden numbers of the model with plain PyTorch: golden_pre.json, golden_post.json,
golden_tied.json.

usage: make_golden.py [--output FOLDER]      (needs torch 2.11 and numpy, CPU)

The model is torch.nn.Transformer between embeddings and an output projection, fp32, dropout 0.
Everything is also computed in fp64; where fp32 rounding comes near the golden test's tolerance of
1e-5, the script stops instead of writing.
"""

import argparse
import math
import os
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from golden_json import Number, encode

PAD, BEGIN, END = 0, 2, 3
STEPS = 10
ADAM = {"lr": 1e-3, "betas": (0.9, 0.98), "eps": 1e-9}
CLIP = 1.0
SMOOTHING = 0.1
ROUNDING_LIMIT = 3e-6  # of fp32 against fp64, relative

SOURCE = [[5, 9, 22, 4, 7, 13, END], [11, 6, 5, 18, END], [20, 8, END]]
TARGET = [[8, 21, 4, 17, END], [15, 5, 9, 9, 22, 6, 12, END], [10, 7, END]]


class Model(nn.Module):
    """Encoder-decoder Transformer whose state_dict has the names of a checkpoint."""

    def __init__(self, c):
        super().__init__()
        self.d_model = c["d_model"]
        self.transformer = nn.Transformer(
            c["d_model"],
            c["num_heads"],
            c["num_encoder_layers"],
            c["num_decoder_layers"],
            c["d_ff"],
            dropout=0.0,
            activation="relu",
            layer_norm_eps=1e-5,
            batch_first=True,
            norm_first=c["norm"] == "pre",
        )
        self.source_embedding = nn.Embedding(c["source_vocabulary"], c["d_model"])
        self.target_embedding = nn.Embedding(c["target_vocabulary"], c["d_model"])
        self.output_projection = nn.Linear(c["d_model"], c["target_vocabulary"])
        if c["tie_embeddings"]:
            self.target_embedding.weight = self.source_embedding.weight
            self.output_projection.weight = self.source_embedding.weight

    def embed(self, embedding, ids):
        x = embedding(ids) * math.sqrt(self.d_model)
        position = torch.arange(ids.shape[1], dtype=torch.float64).unsqueeze(1)
        frequency = torch.exp(
            torch.arange(0, self.d_model, 2, dtype=torch.float64)
            * (-math.log(10000.0) / self.d_model)
        )
        table = torch.stack(
            (torch.sin(position * frequency), torch.cos(position * frequency)), dim=2
        )
        return x + table.reshape(1, ids.shape[1], self.d_model).to(
            x.dtype
        )  # sine in even columns, cosine in odd ones

    def forward(self, source, target):
        length = target.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).triu(1)
        hidden = self.transformer(
            self.embed(self.source_embedding, source),
            self.embed(self.target_embedding, target),
            tgt_mask=causal,
            src_key_padding_mask=source == PAD,
            tgt_key_padding_mask=target == PAD,
            memory_key_padding_mask=source == PAD,
        )
        return self.output_projection(hidden)


def checkpoint_name(name):
    return name.removeprefix("transformer.")


def tensors(model):
    """(name, parameter) sorted by name; tied matrices come under each of their names."""
    return sorted(
        (checkpoint_name(n), p) for n, p in model.named_parameters(remove_duplicate=False)
    )


def initialize(model, seed):
    """N(0, 0.1) for all, norm weights about 1, so that no gradient is zero by symmetry. Drawn in
    order of the names."""
    random = np.random.default_rng(seed)
    seen = set()
    with torch.no_grad():
        for name, parameter in tensors(model):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            value = random.normal(0.0, 0.1, tuple(parameter.shape)).astype(np.float32)
            if "norm" in name and name.endswith("weight"):
                value += np.float32(1.0)
            parameter.copy_(torch.from_numpy(value))


def padded(rows):
    length = max(len(row) for row in rows)
    return torch.tensor([row + [PAD] * (length - len(row)) for row in rows])


def loss_of(model, batch, smoothing=0.0):
    logits = model(batch["source"], batch["target_in"])
    return logits, functional.cross_entropy(
        logits.flatten(0, 1),
        batch["target_out"].flatten(),
        ignore_index=PAD,
        label_smoothing=smoothing,
    )


def gradients_of(model, loss):
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in tensors(model)}


def results(config, batch, seed, dtype):
    model = Model(config)
    initialize(model, seed)
    model.to(dtype).train()
    out = {"parameters": {name: parameter.detach().clone() for name, parameter in tensors(model)}}
    out["logits"], loss = loss_of(model, batch)
    out["loss"], out["gradients"] = loss.item(), gradients_of(model, loss)
    loss = loss_of(model, batch, SMOOTHING)[1]
    out["loss_smoothed"] = loss.item()
    out["gradients_smoothed"] = gradients_of(model, loss)
    optimizer = torch.optim.Adam(model.parameters(), **ADAM)
    out["losses"], out["grad_norms"] = [], []
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model, batch)[1]
        loss.backward()
        out["losses"].append(loss.item())
        out["grad_norms"].append(nn.utils.clip_grad_norm_(model.parameters(), CLIP).item())
        optimizer.step()
    return out


def key_bias_zeroed(name, gradient):
    """The gradient with the key's third of in_proj_bias at 0: softmax doesn't see that bias, its
    true gradient is 0."""
    if name.endswith("in_proj_bias"):
        gradient = gradient.clone()
        gradient[gradient.numel() // 3 : 2 * gradient.numel() // 3] = 0
    return gradient


def rounding(single, double, batch):
    """Largest relative distance of fp32 from fp64, over losses, norms, logits and gradients."""
    real = batch["target_out"] != PAD
    a, b = single["logits"].detach()[real].double(), double["logits"].detach()[real]
    worst = ((a - b).abs().max() / b.abs().max()).item()
    for key in ("losses", "grad_norms"):
        worst = max([worst] + [abs(x - y) / abs(y) for x, y in zip(single[key], double[key])])
    for key in ("gradients", "gradients_smoothed"):
        for name, gradient in double[key].items():
            b = key_bias_zeroed(name, gradient)
            a = key_bias_zeroed(name, single[key][name]).double()
            worst = max(worst, ((a - b).abs().max() / b.abs().max()).item())
    return worst


def flat(tensor):
    return [Number(v) for v in tensor.detach().flatten().tolist()]


def write(path, config, seed):
    source, target = padded(SOURCE), padded(TARGET)
    batch = {
        "source": source,
        "target_in": padded([[BEGIN] + row[:-1] for row in TARGET]),
        "target_out": target,
    }
    single, double = (
        results(config, batch, seed, dtype) for dtype in (torch.float32, torch.float64)
    )
    worst = rounding(single, double, batch)
    if worst > ROUNDING_LIMIT:
        raise SystemExit(
            f"{path}: fp32 is {worst:.2e} away from fp64, more than {ROUNDING_LIMIT:.0e}; choose "
            "another seed or batch"
        )
    golden = {
        "config": config
        | {
            "seed": seed,
            "torch": torch.__version__,
            "label_smoothing": SMOOTHING,
            "gradient_clip": CLIP,
            "lr": ADAM["lr"],
            "beta1": ADAM["betas"][0],
            "beta2": ADAM["betas"][1],
            "eps": ADAM["eps"],
        },
        "batch": {name: ids.tolist() for name, ids in batch.items()},
        "parameters": {
            n: {"shape": list(v.shape), "data": flat(v)} for n, v in single["parameters"].items()
        },
        "logits": flat(single["logits"]),
        "loss": Number(single["loss"]),
        "loss_smoothed": Number(single["loss_smoothed"]),
        "gradients": {n: flat(v) for n, v in single["gradients"].items()},
        "gradients_smoothed": {
            n: flat(single["gradients_smoothed"][n])
            for n in ("output_projection.bias", "source_embedding.weight")
        },
        "losses": [Number(v) for v in single["losses"]],
        "grad_norms": [Number(v) for v in single["grad_norms"]],
    }
    with open(path, "w", encoding="utf-8") as file:
        file.write(encode(golden) + "\n")
    print(
        f"{path}: {os.path.getsize(path)} bytes, fp32 against fp64 {worst:.1e}, loss "
        f"{golden['losses'][0]:.6f} -> {golden['losses'][-1]:.6f}, "
        f"norm {golden['grad_norms'][0]:.4f}"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output",
        default=os.path.dirname(os.path.abspath(__file__)),
        help="folder of the JSON files",
    )
    output = parser.parse_args().output
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="enable_nested_tensor")
    base = {
        "d_model": 16,
        "num_heads": 4,
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
        "d_ff": 32,
        "norm": "pre",
        "tie_embeddings": False,
        "source_vocabulary": 23,
        "target_vocabulary": 29,
    }
    write(os.path.join(output, "golden_pre.json"), base, seed=1)
    write(os.path.join(output, "golden_post.json"), base | {"norm": "post"}, seed=2)
    write(
        os.path.join(output, "golden_tied.json"),
        base | {"tie_embeddings": True, "target_vocabulary": 23},
        seed=3,
    )


if __name__ == "__main__":
    main()
