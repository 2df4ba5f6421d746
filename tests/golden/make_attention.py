#!/usr/bin/env python3
"""Make the golden numbers of attention's kinds and of positions with plain PyTorch:
golden_attention.json.

usage: make_attention.py [--output FOLDER]      (needs torch 2.11 and numpy, CPU)

Each case is an encoder-decoder Transformer of pre norm whose attentions are dense matrices of
scores with a mask (local attention), with a bias (ALiBi) or between rotated queries and keys
(rotary positions), in fp64, dropout 0. The sentences have 1, 7, 64 and 300 ids. Parameters and ids
come from formulas (`parameter`, `ids`) that the test repeats, so the file holds results alone: the
loss, some logits, and of each gradient its largest size, some entries, and its product with a
fixed vector, which every entry is part of.
"""

import argparse
import math
import os

import numpy as np
import torch
from torch.nn import functional

from golden_json import Number, encode

SOURCE_LENGTHS = [1, 7, 64, 300]
TARGET_LENGTHS = [2, 9, 64, 300]
SOURCE_WORDS, TARGET_WORDS = 13, 11
BEGIN, END = 2, 3
SAMPLES = 12

BASE = {
    "d_model": 16,
    "num_heads": 2,
    "d_ff": 16,
    "position": "sinusoidal",
    "position_layout": "interleaved",
    "encoder_attention": "full",
    "decoder_attention": "full",
    "cross_attention": "full",
    "attention_window": 0,
    "rope_theta": 10000.0,
    "rope_scaling": "none",
    "rope_scaling_factor": 1.0,
    "cross_downsample": 1,
    "source_per_target": 1.0,
}
LOCAL = {f"{place}_attention": "local" for place in ("encoder", "decoder", "cross")}
CASES = {
    "encoder_local": {"encoder_attention": "local", "attention_window": 3},
    "decoder_local": {"decoder_attention": "local", "attention_window": 5},
    "cross_local": {
        "cross_attention": "local",
        "attention_window": 20,
        "source_per_target": 0.9375,
    },
    "all_local": LOCAL | {"attention_window": 70},
    "alibi": {"position": "alibi"},
    "alibi_three_heads": {"position": "alibi", "num_heads": 3, "d_model": 12},
    "alibi_local": LOCAL | {"position": "alibi", "attention_window": 9},
    "rope": {"position": "rope"},
    "rope_halves": {"position": "rope", "position_layout": "halves", "rope_theta": 500.0},
    "rope_linear": {"position": "rope", "rope_scaling": "linear", "rope_scaling_factor": 4.0},
    "rope_ntk": {"position": "rope", "rope_scaling": "ntk", "rope_scaling_factor": 4.0},
    "downsample": {"cross_downsample": 3},
    "everything": LOCAL
    | {
        "position": "rope",
        "position_layout": "halves",
        "attention_window": 16,
        "cross_downsample": 4,
        "source_per_target": 1.25,
    },
}


def parameter(number, shape, norm_weight):
    """Entry i of tensor `number`, in fp32."""
    i = np.arange(int(np.prod(shape)), dtype=np.float64)
    value = 0.25 * np.sin(1.7 * i + 0.9 * i * i / 1009.0 + 0.61 * number)
    return (value + (1.0 if norm_weight else 0.0)).astype(np.float32).reshape(shape)


def ids(sentence, length, words, salt):
    return [4 + (sentence * 7 + t * t * 3 + t + salt) % (words - 4) for t in range(length)]


def names_and_shapes(c):
    d, f = c["d_model"], c["d_ff"]

    def attention(name):
        return [
            (f"{name}.in_proj_weight", (3 * d, d)),
            (f"{name}.in_proj_bias", (3 * d,)),
            (f"{name}.out_proj.weight", (d, d)),
            (f"{name}.out_proj.bias", (d,)),
        ]

    def norm(name):
        return [(f"{name}.weight", (d,)), (f"{name}.bias", (d,))]

    def feed_forward(name):
        return [
            (f"{name}.linear1.weight", (f, d)),
            (f"{name}.linear1.bias", (f,)),
            (f"{name}.linear2.weight", (d, f)),
            (f"{name}.linear2.bias", (d,)),
        ]

    e, o = "encoder.layers.0", "decoder.layers.0"
    out = [
        ("source_embedding.weight", (SOURCE_WORDS, d)),
        ("target_embedding.weight", (TARGET_WORDS, d)),
    ]
    out += attention(f"{e}.self_attn") + feed_forward(e) + norm(f"{e}.norm1") + norm(f"{e}.norm2")
    out += norm("encoder.norm")
    out += attention(f"{o}.self_attn") + attention(f"{o}.multihead_attn") + feed_forward(o)
    out += norm(f"{o}.norm1") + norm(f"{o}.norm2") + norm(f"{o}.norm3") + norm("decoder.norm")
    out.append(("output_projection.weight", (TARGET_WORDS, d)))
    out.append(("output_projection.bias", (TARGET_WORDS,)))
    return sorted(out)


def slopes(heads):
    """Press et al. 2022, as in their code."""

    def power_of_two(n):
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    if math.log2(heads).is_integer():
        return power_of_two(heads)
    closest = 2 ** math.floor(math.log2(heads))
    return power_of_two(closest) + slopes(2 * closest)[0::2][: heads - closest]


class Model:
    """One sentence at a time: no padding, every mask spelled out."""

    def __init__(self, c):
        self.c = c
        self.p = {}
        for number, (name, shape) in enumerate(names_and_shapes(c)):
            is_norm = "norm" in name and name.endswith("weight")
            value = torch.from_numpy(parameter(number, shape, is_norm)).double()
            self.p[name] = value.requires_grad_(True)

    def embed(self, name, words):
        d = self.c["d_model"]
        x = self.p[name][torch.tensor(words)] * math.sqrt(d)
        if self.c["position"] != "sinusoidal":
            return x
        place = torch.arange(len(words), dtype=torch.float64).unsqueeze(1)
        frequency = torch.exp(torch.arange(0, d, 2, dtype=torch.float64) * (-math.log(10000.0) / d))
        table = torch.stack((torch.sin(place * frequency), torch.cos(place * frequency)), dim=2)
        return x + table.reshape(len(words), d)

    def rotated(self, x):
        """x [heads, length, width]."""
        c, width = self.c, x.shape[2]
        theta, places = c["rope_theta"], torch.arange(x.shape[1], dtype=torch.float64)
        if c["rope_scaling"] == "linear":
            places = places / c["rope_scaling_factor"]
        if c["rope_scaling"] == "ntk":
            theta = theta * c["rope_scaling_factor"] ** (width / (width - 2))
        angle = places[:, None] * theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        cosine, sine = torch.cos(angle), torch.sin(angle)
        if c["position_layout"] == "halves":
            a, b = x[..., : width // 2], x[..., width // 2 :]
            return torch.cat((a * cosine - b * sine, b * cosine + a * sine), dim=2)
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * cosine - b * sine, b * cosine + a * sine), dim=3).flatten(2)

    def visible(self, place, queries, keys):
        """Whether query t sees key s, [queries, keys]."""
        c = self.c
        t, s = torch.arange(queries)[:, None], torch.arange(keys)[None, :]
        window, local = c["attention_window"], c[f"{place}_attention"] == "local"
        if place == "encoder":
            return (s - t).abs() <= window if local else torch.ones(queries, keys, dtype=torch.bool)
        if place == "decoder":
            return (s <= t) & (t - s <= window if local else s <= t)
        if not local:
            return torch.ones(queries, keys, dtype=torch.bool)
        centre = torch.floor(t * c["source_per_target"] + 0.5)
        return (s * c["cross_downsample"] - centre).abs() <= window

    def attention(self, name, place, x, memory):
        c, p, d = self.c, self.p, self.c["d_model"]
        heads = c["num_heads"]
        weight, bias = p[f"{name}.in_proj_weight"], p[f"{name}.in_proj_bias"]
        q = functional.linear(x, weight[:d], bias[:d])
        k = functional.linear(memory, weight[d : 2 * d], bias[d : 2 * d])
        v = functional.linear(memory, weight[2 * d :], bias[2 * d :])
        q, k, v = (y.reshape(-1, heads, d // heads).transpose(0, 1) for y in (q, k, v))
        if c["position"] == "rope" and place != "cross":
            q, k = self.rotated(q), self.rotated(k)
        scores = q @ k.transpose(1, 2) / math.sqrt(d // heads)
        if c["position"] == "alibi" and place != "cross":
            distance = (torch.arange(k.shape[1])[None, :] - torch.arange(q.shape[1])[:, None]).abs()
            slope = torch.tensor(slopes(heads), dtype=torch.float64)[:, None, None]
            scores = scores - slope * distance
        visible = self.visible(place, q.shape[1], k.shape[1])
        scores = scores.masked_fill(~visible, -math.inf)
        some = visible.any(1)[:, None]  # a query that sees no key gets nothing
        probabilities = torch.softmax(scores.masked_fill(~some, 0.0), 2) * some
        merged = (probabilities @ v).transpose(0, 1).reshape(-1, d)
        return functional.linear(merged, p[f"{name}.out_proj.weight"], p[f"{name}.out_proj.bias"])

    def norm(self, name, x):
        weight, bias = self.p[f"{name}.weight"], self.p[f"{name}.bias"]
        return functional.layer_norm(x, (x.shape[1],), weight, bias)

    def feed_forward(self, name, x):
        p = self.p
        hidden = functional.linear(x, p[f"{name}.linear1.weight"], p[f"{name}.linear1.bias"])
        return functional.linear(
            torch.relu(hidden), p[f"{name}.linear2.weight"], p[f"{name}.linear2.bias"]
        )

    def logits(self, source, target):
        name = "encoder.layers.0"
        x = self.embed("source_embedding.weight", source)
        h = self.norm(f"{name}.norm1", x)
        x = x + self.attention(f"{name}.self_attn", "encoder", h, h)
        x = x + self.feed_forward(name, self.norm(f"{name}.norm2", x))
        memory = self.norm("encoder.norm", x)[:: self.c["cross_downsample"]]
        name = "decoder.layers.0"
        x = self.embed("target_embedding.weight", target)
        h = self.norm(f"{name}.norm1", x)
        x = x + self.attention(f"{name}.self_attn", "decoder", h, h)
        h = self.norm(f"{name}.norm2", x)
        x = x + self.attention(f"{name}.multihead_attn", "cross", h, memory)
        x = x + self.feed_forward(name, self.norm(f"{name}.norm3", x))
        x = self.norm("decoder.norm", x)
        return functional.linear(
            x, self.p["output_projection.weight"], self.p["output_projection.bias"]
        )


def digest(tensor):
    """What the file holds of a tensor."""
    flat = tensor.detach().flatten()
    at = torch.arange(SAMPLES) * flat.numel() // SAMPLES
    probe = torch.sin(0.77 * torch.arange(flat.numel(), dtype=torch.float64))
    return {
        "largest": Number(flat.abs().max()),
        "samples": [Number(v) for v in flat[at].tolist()],
        "probe": Number(flat @ probe),
    }


def result(changes):
    model = Model(BASE | changes)
    rows, total, count = [], 0.0, sum(TARGET_LENGTHS)
    for b, (source, target) in enumerate(zip(SOURCE_LENGTHS, TARGET_LENGTHS)):
        words = ids(b, target - 1, TARGET_WORDS, 5)
        logits = model.logits(ids(b, source - 1, SOURCE_WORDS, 0) + [END], [BEGIN] + words)
        labels = torch.tensor(words + [END])
        total = total + functional.cross_entropy(logits, labels, reduction="sum")
        rows.append(logits)
    loss = total / count
    loss.backward()
    return {
        "config": BASE | changes,
        "loss": Number(loss.item()),
        "logits": digest(torch.cat(rows)),
        "gradients": {name: digest(p.grad) for name, p in model.p.items()},
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default=os.path.dirname(os.path.abspath(__file__)))
    output = parser.parse_args().output
    torch.set_num_threads(1)
    golden = {
        "torch": torch.__version__,
        "source_lengths": SOURCE_LENGTHS,
        "target_lengths": TARGET_LENGTHS,
        "source_vocabulary": SOURCE_WORDS,
        "target_vocabulary": TARGET_WORDS,
        "cases": {name: result(changes) for name, changes in CASES.items()},
    }
    path = os.path.join(output, "golden_attention.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(encode(golden) + "\n")
    print(f"{path}: {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
