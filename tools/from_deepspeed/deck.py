"""The deck that is written: [section] lines, a key a line, and where its value is from."""

import re
from pathlib import Path

SECTIONS = ["run", "model", "data", "train", "optimizer", "schedule", "precision", "zero", "comm"]
RANGES = {
    "data.batch_size": (1, 2**20),
    "train.micro_batches": (0, 2**20),
    "precision.loss_scale": (2.0**-10, 2.0**40),
    "precision.loss_scale_min": (2.0**-10, 2.0**40),
    "monitor.log_every_steps": (1, 10**15),
    "zero.prefetch_units": (0, 1024),
}
PATHS = re.compile(
    r"data\.((train|valid|test)_(source|target)|(target_)?tokenizer_model|index_dir)"
    r"|checkpoint\.init_from|valid\.script|run\.stop_file"
)
WORDS_OR_PATH = {
    "data.vocabulary": ("text", "checkpoint"),
    "checkpoint.resume": ("none", "latest"),
}


def text_of(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def absolute(key, text):
    """A path of the command line is relative to the working directory, one of a deck to it."""
    if PATHS.fullmatch(key) or key in WORDS_OR_PATH and text not in WORDS_OR_PATH[key]:
        parts = (one.strip() for one in text.split(","))
        return ",".join(str(Path(part).absolute()) if part else part for part in parts)
    return text


class Deck:
    def __init__(self, report, given):
        """`given`: {key: text} of the command line, which stands in place of all others."""
        self.report, self.given = report, given
        self.values = {}

    def set(self, key, value, origin):
        """`origin`: the configuration's key, or words that say where the value is from."""
        low, high = RANGES.get(key, (None, None))
        if low is not None and not low <= value <= high and key not in self.given:
            self.report.lost(origin, f"{value} is out of {key}'s range, {low:g} to {high:g}")
            return
        self.values[key] = (text_of(value), origin)

    def get(self, key):
        return self.values.get(key, (None, None))[0]

    def remove(self, key):
        self.values.pop(key, None)

    def text(self, head):
        lines = [f"# {line}" for line in head]
        values = dict(self.values)
        for key, text in self.given.items():
            values[key] = (absolute(key, text), "given on the command line")
        names = {key.split(".")[0]: None for key in values}
        for section in sorted(names, key=lambda one: (*SECTIONS, one).index(one)):
            lines += ["", f"[{section}]"]
            for key, (text, origin) in values.items():
                if key.split(".")[0] == section:
                    lines.append(f"{key.split('.', 1)[1]} = {text}  # {origin}")
        return "\n".join(lines) + "\n"
