#!/usr/bin/env python3
"""The decks good/pairs_NN.in: options of the model family, optimizers, schedules, averages and
types, combined so that each two options that can go together are on in one deck, and each one is
off beside the other on.

usage: tests/decks/make_pairs.py [--check]

An option is a key group away from its default; where it has several values, they take turns, so
that as many pairs of values as twelve decks hold are there. The decks are found by a greedy search
with a fixed seed: the same ones each time. --check writes nothing and fails where they differ.
"""

import itertools
import random
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "good"
DECKS = 12
OFF = {}
# Each option: its values, the first of which is off; a value is keys and their texts.
OPTIONS = {
    "encoder_attention": [OFF, {"model.encoder_attention": "local"}],
    "decoder_attention": [OFF, {"model.decoder_attention": "local"}],
    "cross_attention": [OFF, {"model.cross_attention": "local"}],
    "position": [
        OFF,
        {"model.position_layout": "halves", "model.position_frequency": "marian"},
        {"model.position": "learned"},
        {"model.position": "rope", "model.position_layout": "halves"},
        {
            "model.position": "rope",
            "model.rope_scaling": "linear",
            "model.rope_scaling_factor": "2",
        },
        {"model.position": "rope", "model.rope_scaling": "ntk", "model.rope_scaling_factor": "4"},
        {"model.position": "alibi"},
    ],
    "cross_downsample": [OFF, {"model.cross_downsample": "3"}],
    "norm": [OFF, {"model.norm": "post"}],
    "norm_kind": [OFF, {"model.norm_kind": "rms", "model.norm_eps": "1e-06"}],
    "final_norm": [OFF, {"model.final_norm": "false"}],
    "embedding_norm": [OFF, {"model.embedding_norm": "true"}],
    "activation": [
        OFF,
        {"model.activation": "gelu"},
        {"model.activation": "swish"},
        {"model.activation": "swiglu"},
    ],
    "tie_embeddings": [
        OFF,
        {"model.tie_embeddings": "decoder"},
        {"model.tie_embeddings": "embeddings"},
        {"model.tie_embeddings": "all"},
    ],
    "dropout": [OFF, {"model.attention_dropout": "0.2", "model.activation_dropout": "0"}],
    "qk_norm": [OFF, {"model.qk_norm": "true"}],
    "initial_values": [OFF, {"model.depth_scaled_init": "true"}],
    "start": [OFF, {"model.start": "zero"}],
    "optimizer": [
        OFF,
        {"optimizer.name": "sgd", "optimizer.momentum": "0.9", "optimizer.nesterov": "true"},
        {"optimizer.name": "adafactor"},
        {"optimizer.name": "muon"},
        {
            "optimizer.name": "muon",
            "optimizer.muon_scale": "match_rms_adamw",
            "optimizer.adam_lr": "0.002",
        },
    ],
    "state_dtype": [OFF, {"optimizer.state_dtype": "bf16"}],
    "schedule": [
        OFF,
        {"schedule.name": "warmup_constant", "schedule.warmup_shape": "log"},
        {"schedule.name": "wsd", "schedule.total_steps": "12", "schedule.decay_steps": "4"},
        {"schedule.name": "cosine", "schedule.total_steps": "12", "schedule.min_ratio": "0.1"},
    ],
    "average": [OFF, {"train.ema_decay": "0.8", "decode.parameters": "ema"}],
    "precision": [OFF, {"precision.dtype": "bf16"}, {"precision.dtype": "fp16"}],
}
NAMES = list(OPTIONS)
BASE = {
    "model.d_model": "24",
    "model.num_heads": "3",
    "model.num_encoder_layers": "2",
    "model.num_decoder_layers": "2",
    "model.d_ff": "40",
    "data.train_source": "train.en",
    "data.train_target": "train.fr",
    "data.test_source": "test.en",
    "data.test_target": "test.fr",
    "data.max_length": "60",
    "decode.max_length": "40",
    "optimizer.lr": "0.004",
    "schedule.name": "constant",
    "schedule.warmup_steps": "4",
}


def pairs_of(row):
    """On-off pairs (weight 40) and pairs of values (weight 1) of a row of value numbers."""
    for (i, a), (j, b) in itertools.combinations(enumerate(row), 2):
        yield ("on", i, bool(a), j, bool(b)), 40
        yield ("value", i, a, j, b), 1


def worth(row, covered):
    return sum(weight for pair, weight in pairs_of(row) if pair not in covered)


def best_row(covered, chance):
    best, best_worth = None, -1
    for _ in range(12):
        row = [chance.randrange(len(OPTIONS[name])) for name in NAMES]
        current, improved = worth(row, covered), True
        while improved:
            improved = False
            for i, name in enumerate(NAMES):
                for value in range(len(OPTIONS[name])):
                    other = row[:i] + [value] + row[i + 1 :]
                    gain = worth(other, covered)
                    if gain > current:
                        row, current, improved = other, gain, True
        if current > best_worth:
            best, best_worth = row, current
    return best


def search(done, seed=19):
    """Rows until done(rows, covered pairs)."""
    covered, found, chance = set(), [], random.Random(seed)
    while not done(found, covered):
        row = best_row(covered, chance)
        covered.update(pair for pair, _ in pairs_of(row))
        found.append(row)
    return found, covered


def rows():
    return search(lambda found, _: len(found) == DECKS)


def value_pairs():
    return sum(len(OPTIONS[a]) * len(OPTIONS[b]) for a, b in itertools.combinations(NAMES, 2))


def held_value_pairs(covered):
    return sum(1 for pair in covered if pair[0] == "value")


def all_value_rows():
    """Rows that hold every pair of values."""
    wanted = value_pairs()
    return search(lambda _, covered: held_value_pairs(covered) == wanted)[0]


def keys_of(row):
    keys = dict(BASE)
    for name, value in zip(NAMES, row):
        keys.update(OPTIONS[name][value])
    if any(keys.get(f"model.{part}_attention") for part in ("encoder", "decoder", "cross")):
        keys["model.attention_window"] = "4"
    if keys["schedule.name"] == "constant":
        del keys["schedule.warmup_steps"]  # without effect there
    return keys


def deck(number, row):
    keys = keys_of(row)
    on = [name for name, value in zip(NAMES, row) if value]
    lines = [f"# Deck {number} of {DECKS} that combine options (make_pairs.py).", "# On: "]
    for name in on:
        if len(lines[-1]) + len(name) > 95:
            lines.append("#     ")
        lines[-1] += name + (", " if name != on[-1] else "")
    options = {key for name, value in zip(NAMES, row) for key in OPTIONS[name][value]}
    lines = [line.rstrip() for line in lines]
    lines += [f"# expect: {key} = {keys[key]}" for key in keys if key in options]
    section = ""
    for key in sorted(keys):
        if key.split(".")[0] != section:
            section = key.split(".")[0]
            lines.append(f"[{section}]")
        lines.append(f"{key.split('.')[1]} = {keys[key]}")
    return "\n".join(lines) + "\n"


def keys_in(text):
    """{section.key: value} of a deck that deck() made."""
    keys, section = {}, ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif not line.startswith("#"):
            key, value = line.split(" = ", 1)
            keys[f"{section}.{key}"] = value
    return keys


def main():
    found, covered = rows()
    wanted = {
        ("on", i, a, j, b)
        for i, j in itertools.combinations(range(len(NAMES)), 2)
        for a in (False, True)
        for b in (False, True)
    }
    assert wanted <= covered, f"pairs without a deck: {wanted - covered}"
    held = held_value_pairs(covered)
    print(f"{len(wanted)} pairs on or off: all; {held} of {value_pairs()} pairs of values")
    for number, row in enumerate(found, 1):
        path = FOLDER / f"pairs_{number:02}.in"
        text = deck(number, row)
        if sys.argv[1:] == ["--check"]:
            assert path.read_text() == text, f"{path} is not what make_pairs.py writes"
        else:
            path.write_text(text)


if __name__ == "__main__":
    main()
