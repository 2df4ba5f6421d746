#!/usr/bin/env python3
"""Load a th_app checkpoint into plain torch.nn.Transformer and print its validation loss as one
JSON line.

usage: load_checkpoint_in_pytorch.py CHECKPOINT_DIR [--source FILE --target FILE]
It needs torch, h5py and numpy.

CHECKPOINT_DIR is checkpoints/step_..., a checkpoints folder with its `latest`, or a run's folder.
Of a run in bf16 or fp16 the fp32 master weights are loaded, so the loss differs from th_app's by
what rounding them does (1e-4 seen). The text is the deck's data.valid_source and data.valid_target
unless given. The loss is plain cross entropy: the sum over all target tokens divided by their
count.
"""

import argparse
import gzip
import json
import math
import os
import warnings

import h5py
import torch
from torch import nn
from torch.nn import functional

PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3


def read_deck(text):
    """{"section.key": value} of a resolved deck: `[section]` and `key = value  # origin` lines."""
    deck, section = {}, ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line[1 : line.index("]")]
        elif "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            value = value.rsplit(" # ", 1)[0].strip()  # the last one: a path may hold a # too
            deck[f"{section}.{key.strip()}"] = value
    return deck


class Model(nn.Module):
    def __init__(self, deck, source_words, target_words):
        super().__init__()
        d_model = int(deck["model.d_model"])
        self.transformer = nn.Transformer(
            d_model,
            int(deck["model.num_heads"]),
            int(deck["model.num_encoder_layers"]),
            int(deck["model.num_decoder_layers"]),
            int(deck["model.d_ff"]),
            dropout=0.0,
            activation=deck.get("model.activation", "relu"),
            layer_norm_eps=float(deck.get("model.norm_eps", 1e-5)),
            batch_first=True,
            norm_first=deck["model.norm"] == "pre",
        )
        self.source_embedding = nn.Embedding(source_words, d_model)
        self.target_embedding = nn.Embedding(target_words, d_model)
        self.output_projection = nn.Linear(d_model, target_words)

    def embed(self, embedding, ids):
        x = embedding(ids) * math.sqrt(embedding.embedding_dim)
        position = torch.arange(ids.shape[1], dtype=torch.float64).unsqueeze(1)
        frequency = torch.exp(
            torch.arange(0, x.shape[2], 2, dtype=torch.float64) * (-math.log(10000.0) / x.shape[2])
        )
        table = torch.stack(
            (torch.sin(position * frequency), torch.cos(position * frequency)), dim=2
        )
        return x + table.reshape(1, *x.shape[1:]).to(
            x.dtype
        )  # sine in even columns, cosine in odd ones

    def forward(self, source, target):
        causal = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        return self.output_projection(
            self.transformer(
                self.embed(self.source_embedding, source),
                self.embed(self.target_embedding, target),
                tgt_mask=causal,
                src_key_padding_mask=source == PAD,
                tgt_key_padding_mask=target == PAD,
                memory_key_padding_mask=source == PAD,
            )
        )


def load(path):
    """Model, deck, and the two vocabularies {word: id} of a checkpoint."""
    with h5py.File(os.path.join(path, "model.h5"), "r") as file:
        text = file.attrs["deck"]
        deck = read_deck(text.decode() if isinstance(text, bytes) else text)
        vocabularies = [
            {word: i for i, word in enumerate(file["vocabulary"][side][:])}
            for side in ("source", "target")
        ]
        parameters = {
            name: torch.from_numpy(file["parameters"][name][:]) for name in file["parameters"]
        }
    for key, known in (
        ("model.position", "sinusoidal"),
        ("model.position_layout", "interleaved"),
        ("model.position_frequency", "standard"),
        ("model.start", "symbol"),
        ("model.norm_kind", "layer"),
        ("model.final_norm", "true"),
        ("model.embedding_norm", "false"),
        ("model.qk_norm", "false"),
        ("data.tokenizer", "word"),
        ("model.cross_downsample", "1"),
        ("model.encoder_attention", "full"),
        ("model.decoder_attention", "full"),
        ("model.cross_attention", "full"),
    ):
        if deck.get(key, known) != known:
            raise SystemExit(f"{path}: {key} = {deck[key]}; torch.nn.Transformer has only {known}")
    if deck.get("model.activation", "relu") not in ("relu", "gelu"):
        raise SystemExit(
            f"{path}: model.activation = {deck['model.activation']}; torch.nn.Transformer has only "
            "relu and gelu"
        )
    bad = [name for name, value in parameters.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise SystemExit(
            f"{path}: {', '.join(bad)}: values that are not finite; is a shard missing? "
            "(th_inspect verify)"
        )
    model = Model(deck, *map(len, vocabularies))
    own = ("source_embedding.", "target_embedding.", "output_projection.")
    model.load_state_dict(
        {n if n.startswith(own) else "transformer." + n: value for n, value in parameters.items()},
        strict=True,
    )
    return model.eval(), deck, vocabularies


def read_lines(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        text = file.read().removeprefix(b"\xef\xbb\xbf")
    return text.removesuffix(b"\n").split(b"\n")


def encode(line, vocabulary, max_length, begin):
    words = [
        vocabulary.get(word, UNKNOWN) for word in line.split()
    ]  # bytes split at ASCII white space alone
    ids = begin + [i if i > END else UNKNOWN for i in words]
    return ids[: max_length - 1] + [END]


def padded(rows):
    return nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in rows], batch_first=True, padding_value=PAD
    )


@torch.no_grad()
def validation_loss(model, pairs, batch_size=32):
    total, tokens = 0.0, 0
    for at in range(0, len(pairs), batch_size):
        source, target = (padded(side) for side in zip(*pairs[at : at + batch_size]))
        labels = target[:, 1:]
        decoder_in = target[:, :-1].masked_fill(
            labels == PAD, PAD
        )  # without the end token of the shorter sentences
        logits = model(source, decoder_in)
        total += functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=PAD, reduction="sum"
        ).item()
        tokens += int((labels != PAD).sum())
    return total / tokens, tokens


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("--source", help="in place of the deck's data.valid_source")
    parser.add_argument("--target", help="in place of the deck's data.valid_target")
    options = parser.parse_args()
    path = options.checkpoint
    if os.path.isdir(os.path.join(path, "checkpoints")):
        path = os.path.join(path, "checkpoints")
    if os.path.isfile(os.path.join(path, "latest")):
        with open(os.path.join(path, "latest"), encoding="utf-8") as file:
            path = os.path.join(path, file.read().strip())
    if not os.path.isfile(os.path.join(path, "model.h5")):
        raise SystemExit(
            f"{path} holds no model.h5; give a run's folder, its checkpoints folder, or a step "
            "folder"
        )
    warnings.filterwarnings("ignore", message="enable_nested_tensor")
    torch.backends.mha.set_fastpath_enabled(False)  # the plain layers, as in training
    model, deck, (source_words, target_words) = load(path)
    files = options.source or deck.get("data.valid_source"), options.target or deck.get(
        "data.valid_target"
    )
    if not all(files):
        raise SystemExit(
            "the checkpoint's deck names no validation text: give --source and --target"
        )
    lines = [read_lines(name) for name in files]
    if len(lines[0]) != len(lines[1]):
        raise SystemExit(f"{files[0]} has {len(lines[0])} lines, {files[1]} has {len(lines[1])}")
    longest = int(deck["data.max_length"])
    pairs = [
        (encode(s, source_words, longest, []), encode(t, target_words, longest, [BEGIN]))
        for s, t in zip(*lines)
        if s.split() and t.split()
    ]
    pairs.sort(key=lambda pair: (len(pair[0]), len(pair[1])))  # little padding
    loss, tokens = validation_loss(model, pairs)
    print(json.dumps({"valid_loss": loss, "tokens": tokens}))


if __name__ == "__main__":
    main()
