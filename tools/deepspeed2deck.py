#!/usr/bin/env python3
"""Turns a DeepSpeed configuration into a deck of th_app.

usage: tools/deepspeed2deck.py F.json [--ranks N] [section.key=value]… > NAME.in

  F.json             the configuration, as deepspeed.initialize or Hugging Face's Trainer takes it;
                     comments and last commas are read, as DeepSpeed reads them
  --ranks N          the rank count by which batch sizes are reckoned; without it 1, or what
                     train_batch_size makes of it
  section.key=value  a key of the deck (also --section.key=value): the corpus, the model, or
                     another value in place of the configuration's

The deck goes to standard output; each value has the key that it is from beside it. Standard error
names each key that could not be carried over, with the reason or the nearest of our keys, and each
that means something slightly different here. A key that switches off what th_app does not have is
not named. "auto" of Hugging Face becomes the default of its Trainer's argument. Paths given here
are relative to the working directory. docs/from-pytorch.md has all keys of both side by side.

Exit code 0: a deck was written, 2: wrong use, or a configuration that is no JSON, contradicts
itself or has values of the wrong kind; then there is no deck.
"""

import re
import sys
from pathlib import Path

from from_deepspeed.convert import convert
from from_deepspeed.source import ConfigError, read

KEY = re.compile(r"(?:--)?([a-z]+\.[a-z0-9_]+)=(.*)", re.DOTALL)


class UsageError(Exception):
    pass


def rank_count(text):
    if not re.fullmatch(r"[1-9]\d{0,7}", text):
        raise UsageError(f"--ranks {text}: a number from 1 is wanted")
    return int(text)


def arguments(words):
    """(file, rank count or None, {key: text})."""
    files, ranks, given = [], None, {}
    words = iter(words)
    for word in words:
        key = KEY.fullmatch(word)
        if word == "--ranks":
            ranks = rank_count(next(words, ""))
        elif word.startswith("--ranks="):
            ranks = rank_count(word.partition("=")[2])
        elif key and key.group(1) in given:
            raise UsageError(f"{key.group(1)} is given twice")
        elif key and re.search(r"[#\n]", key.group(2)):
            raise UsageError(f"{key.group(1)}: a deck's value has no # and no line break")
        elif key:
            given[key.group(1)] = key.group(2).strip()
        elif word.startswith("-"):
            raise UsageError(f"{word} is no option; --help tells the use")
        else:
            files.append(word)
    if len(files) != 1:
        raise UsageError(f"one configuration is wanted, not {len(files)}; --help tells the use")
    return Path(files[0]), ranks, given


def main(words):
    if {"-h", "--help"} & set(words):
        print(__doc__.strip())
        return 0
    try:
        path, ranks, given = arguments(words)
        deck, lines = convert(read(path), path, given, ranks)
    except (UsageError, ConfigError) as error:
        for line in str(error).splitlines():
            print(f"deepspeed2deck: error: {line}", file=sys.stderr)
        return 2
    print(deck, end="")
    print("\n".join(lines), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
