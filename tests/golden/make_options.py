#!/usr/bin/env python3
"""Make the golden numbers of the model's options with PyTorch: golden_options.json.

usage: make_options.py [--output FOLDER]      (needs torch 2.11 and numpy, CPU)

Each case is a model with some keys of the deck, written here once more in fp64 with PyTorch's own
functions (layer_norm, rms_norm, gelu, silu, scaled_dot_product_attention, embedding), sentence by
sentence, so that no mask and no padding is in it. Parameters and ids are drawn from a hash that the
test repeats, so that the file holds results alone: the loss, and of the logits and of each gradient
the largest element, some elements, and two sums of all elements with random signs.
"""

import argparse
import math
import os

import numpy as np
import torch
from torch.nn import functional

from golden_json import Number, encode

WIDTH, HEADS, HIDDEN, ENCODER, DECODER = 16, 4, 32, 2, 1
VOCABULARY, JOINT = (23, 29), (23, 23)  # source and target, and where they are one
BEGIN, END = 2, 3
SOURCE_LENGTHS = [7, 1, 300, 64]
TARGET_LENGTHS = [1, 7, 64, 300]  # of decoder inputs
POSITIONS = 300
SAMPLES = 10

CASES = {
    "pre": {},
    "post": {"norm": "post"},
    "rms_pre": {"norm_kind": "rms"},
    "rms_post": {"norm_kind": "rms", "norm": "post"},
    "layer_eps": {"norm_eps": "0.01"},
    "rms_eps": {"norm_kind": "rms", "norm_eps": "0.01", "norm": "post"},
    "no_final_norm_pre": {"final_norm": "false"},
    "no_final_norm_post": {"final_norm": "false", "norm": "post"},
    "embedding_norm": {"embedding_norm": "true", "norm": "post"},
    "embedding_norm_rms": {"embedding_norm": "true", "norm_kind": "rms"},
    "gelu": {"activation": "gelu"},
    "swish": {"activation": "swish"},
    "swiglu": {"activation": "swiglu"},
    "tied_decoder": {"tie_embeddings": "decoder"},
    "tied_embeddings": {"tie_embeddings": "embeddings"},
    "tied_all": {"tie_embeddings": "all"},
    "halves": {"position_layout": "halves"},
    "marian_frequency": {"position_frequency": "marian"},
    "learned": {"position": "learned"},
    "learned_tied_norm": {"position": "learned", "tie_embeddings": "all", "embedding_norm": "true"},
    "zero_start": {"start": "zero"},
    "qk_norm": {"qk_norm": "true"},
    "qk_norm_rope": {"qk_norm": "true", "position": "rope"},
    "llama": {
        "norm_kind": "rms",
        "activation": "swiglu",
        "position": "rope",
        "position_layout": "halves",
        "qk_norm": "true",
        "start": "zero",
    },
    "marian": {
        "norm": "post",
        "final_norm": "false",
        "activation": "swish",
        "tie_embeddings": "all",
        "position_layout": "halves",
        "position_frequency": "marian",
        "start": "zero",
    },
    "all_new": {
        "norm_kind": "rms",
        "activation": "swiglu",
        "tie_embeddings": "decoder",
        "position": "learned",
        "start": "zero",
        "qk_norm": "true",
        "embedding_norm": "true",
    },
}

DEFAULTS = {
    "norm": "pre",
    "norm_kind": "layer",
    "norm_eps": "1e-05",
    "final_norm": "true",
    "embedding_norm": "false",
    "activation": "relu",
    "tie_embeddings": "false",
    "position": "sinusoidal",
    "position_layout": "interleaved",
    "position_frequency": "standard",
    "start": "symbol",
    "qk_norm": "false",
}


def mix64(z):
    """Finaliser of splitmix64 over an array of uint64 (th::mix64)."""
    with np.errstate(over="ignore"):
        z = np.asarray(z, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def words_of(text, count):
    """`count` random words that belong to a text."""
    key = np.uint64(0)
    for byte in text.encode():
        key = mix64(key ^ np.uint64(byte))
    with np.errstate(over="ignore"):
        return mix64(key + np.arange(count, dtype=np.uint64))


def parameter(name, shape):
    """Even in (-0.17, 0.17), norm weights about 1; fp32 values in fp64."""
    share = (words_of(name, math.prod(shape)) >> np.uint64(40)).astype(np.float64) * 2.0**-24
    value = (share - 0.5) * 0.34
    if "norm" in name and name.endswith("weight"):
        value += 1.0
    return torch.from_numpy(value.astype(np.float32).astype(np.float64)).reshape(shape)


def sentence(side, number, length, vocabulary):
    return [4 + int(w % np.uint64(vocabulary - 4)) for w in words_of(f"{side}{number}", length)]


class Model:
    """One case: parameters by name, made when they are first asked for."""

    def __init__(self, case):
        self.c = DEFAULTS | case
        joint = self.c["tie_embeddings"] in ("embeddings", "all")
        self.vocabulary = JOINT if joint else VOCABULARY
        self.parameters = {}

    def tensor(self, name, *shape):
        if name not in self.parameters:
            self.parameters[name] = parameter(name, shape).requires_grad_()
        return self.parameters[name]

    def on(self, key):
        return self.c[key] == "true"

    def norm(self, name, x):
        weight = self.tensor(name + ".weight", WIDTH)
        eps = float(self.c["norm_eps"])
        if self.c["norm_kind"] == "rms":
            return functional.rms_norm(x, (WIDTH,), weight, eps)
        return functional.layer_norm(x, (WIDTH,), weight, self.tensor(name + ".bias", WIDTH), eps)

    def linear(self, name, x, outputs):
        return functional.linear(
            x,
            self.tensor(name + ".weight", outputs, x.shape[-1]),
            self.tensor(name + ".bias", outputs),
        )

    def rotated(self, x):
        """Rotary positions of heads [H, rows, K]: pair i is turned by row * 10000^(-2i/K)."""
        half = x.shape[2] // 2
        frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = torch.arange(x.shape[1], dtype=torch.float64).unsqueeze(1) * frequency
        sine, cosine = angle.sin(), angle.cos()
        halves = self.c["position_layout"] == "halves"
        a, b = x.chunk(2, dim=2) if halves else (x[:, :, 0::2], x[:, :, 1::2])
        turned = (a * cosine - b * sine, b * cosine + a * sine)
        return torch.cat(turned, dim=2) if halves else torch.stack(turned, dim=3).flatten(2)

    def attention(self, name, x, memory, causal):
        weight = self.tensor(name + ".in_proj_weight", 3 * WIDTH, WIDTH)
        bias = self.tensor(name + ".in_proj_bias", 3 * WIDTH)
        q, k, v = (
            functional.linear(rows, w, b).unflatten(-1, (HEADS, -1)).transpose(0, 1)
            for rows, w, b in zip((x, memory, memory), weight.chunk(3), bias.chunk(3))
        )
        if self.on("qk_norm"):
            eps, head = float(self.c["norm_eps"]), (WIDTH // HEADS,)
            q = functional.rms_norm(q, head, self.tensor(name + ".q_norm.weight", *head), eps)
            k = functional.rms_norm(k, head, self.tensor(name + ".k_norm.weight", *head), eps)
        if self.c["position"] == "rope" and x is memory:
            q, k = self.rotated(q), self.rotated(k)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.linear(name + ".out_proj", mixed.transpose(0, 1).flatten(1), WIDTH)

    def feed_forward(self, name, x):
        hidden = self.linear(name + ".linear1", x, HIDDEN)
        activation = self.c["activation"]
        if activation == "relu":
            hidden = functional.relu(hidden)
        elif activation == "gelu":
            hidden = functional.gelu(hidden)
        else:
            hidden = functional.silu(hidden)
        if activation == "swiglu":
            hidden = hidden * self.linear(name + ".linear3", x, HIDDEN)
        return self.linear(name + ".linear2", hidden, WIDTH)

    def residual(self, norm, x, body):
        if self.c["norm"] == "pre":
            return x + body(self.norm(norm, x))
        return self.norm(norm, x + body(x))

    def positions(self, side, length):
        if self.c["position"] == "learned":
            return self.tensor(side + "_positions.weight", POSITIONS, WIDTH)[:length]
        if self.c["position"] == "rope":
            return torch.zeros(length, WIDTH, dtype=torch.float64)
        half = WIDTH // 2
        pair = torch.arange(half, dtype=torch.float64)
        if self.c["position_frequency"] == "marian":
            frequency = 10000.0 ** (-pair / (half - 1))
        else:
            frequency = 10000.0 ** (-2 * pair / WIDTH)
        angle = torch.arange(length, dtype=torch.float64).unsqueeze(1) * frequency
        if self.c["position_layout"] == "halves":
            return torch.cat((angle.sin(), angle.cos()), dim=1)
        return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)

    def matrix(self, side):
        """The embedding matrix of a side, or of the output."""
        tied = self.c["tie_embeddings"]
        if side == "output" and tied in ("decoder", "all"):
            side = "target"
        if side == "target" and tied in ("embeddings", "all"):
            side = "source"
        name = "output_projection.weight" if side == "output" else side + "_embedding.weight"
        return self.tensor(name, self.vocabulary[0 if side == "source" else 1], WIDTH)

    def embed(self, side, ids):
        x = functional.embedding(torch.tensor(ids), self.matrix(side)) * math.sqrt(WIDTH)
        if side == "target" and self.c["start"] == "zero":
            x = torch.cat((torch.zeros(1, WIDTH, dtype=x.dtype), x[1:]))
        x = x + self.positions(side, len(ids))
        if self.on("embedding_norm"):
            stack = "encoder" if side == "source" else "decoder"
            x = self.norm(stack + ".layernorm_embedding", x)
        return x

    def logits(self, source, target):
        x = self.embed("source", source)
        for layer in range(ENCODER):
            name = f"encoder.layers.{layer}"
            x = self.residual(
                name + ".norm1",
                x,
                lambda h, n=name: self.attention(n + ".self_attn", h, h, causal=False),
            )
            x = self.residual(name + ".norm2", x, lambda h, n=name: self.feed_forward(n, h))
        memory = self.norm("encoder.norm", x) if self.on("final_norm") else x
        x = self.embed("target", target)
        for layer in range(DECODER):
            name = f"decoder.layers.{layer}"
            x = self.residual(
                name + ".norm1",
                x,
                lambda h, n=name: self.attention(n + ".self_attn", h, h, causal=True),
            )
            x = self.residual(
                name + ".norm2",
                x,
                lambda h, n=name: self.attention(n + ".multihead_attn", h, memory, causal=False),
            )
            x = self.residual(name + ".norm3", x, lambda h, n=name: self.feed_forward(n, h))
        if self.on("final_norm"):
            x = self.norm("decoder.norm", x)
        bias = self.tensor("output_projection.bias", self.vocabulary[1])
        return functional.linear(x, self.matrix("output"), bias)


def summary(name, tensor):
    """What the test compares: the same elements and signs are drawn there."""
    flat = tensor.detach().flatten().numpy()
    places = words_of("places of " + name, SAMPLES) % np.uint64(flat.size)
    sums = []
    for which in (0, 1):
        signs = (words_of(f"signs {which} of {name}", flat.size) & np.uint64(1)).astype(np.float64)
        sums.append(Number(float((flat * (2 * signs - 1)).sum())))
    return {
        "count": int(flat.size),
        "largest": Number(float(np.abs(flat).max())),
        "elements": [Number(float(flat[int(p)])) for p in places],
        "sums": sums,
    }


def results(case):
    model = Model(case)
    logits, labels = [], []
    for number, (source, target) in enumerate(zip(SOURCE_LENGTHS, TARGET_LENGTHS)):
        words = sentence("target", number, target - 1, model.vocabulary[1])
        ids = sentence("source", number, source - 1, model.vocabulary[0]) + [END]
        logits.append(model.logits(ids, [BEGIN] + words))
        labels += words + [END]
    logits = torch.cat(logits)
    loss = functional.cross_entropy(logits, torch.tensor(labels))
    loss.backward()
    return {
        "keys": {"model." + key: value for key, value in case.items()},
        "loss": Number(loss.item()),
        "logits": summary("logits", logits),
        "gradients": {
            name: summary(name, tensor.grad) for name, tensor in sorted(model.parameters.items())
        },
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default=os.path.dirname(os.path.abspath(__file__)))
    path = os.path.join(parser.parse_args().output, "golden_options.json")
    torch.set_num_threads(1)
    golden = {
        "torch": torch.__version__,
        "source_lengths": SOURCE_LENGTHS,
        "target_lengths": TARGET_LENGTHS,
        "cases": {name: results(case) for name, case in CASES.items()},
    }
    with open(path, "w", encoding="utf-8") as file:
        file.write(encode(golden) + "\n")
    print(f"{path}: {os.path.getsize(path)} bytes, {len(CASES)} cases")


if __name__ == "__main__":
    main()
