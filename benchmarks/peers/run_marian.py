#!/usr/bin/env python3
"""Trains and decodes by th_app and by Marian (pymarian, its own programs for CPUs), in turn, one
process with one thread each. Prints a Markdown table: target words a second of training, and lines
a second of decoding.

Training: the same sizes (d_model 256, d_ff 1024, 4 heads, 3+3 layers post-norm), 64 sentences a
step, steps 11 to 40. Decoding: a model that Marian trained for --steps steps, imported by
th_inspect, with 1 and 4 beams; the time of a quarter of the lines is taken off that of all.

Marian: TH_PYMARIAN, else benchmarks/peers/.venv-marian, which is made from PyPI where it is
missing.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
from pathlib import Path

from peer_programs import installed, output_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "pymarian==1.12.31"
FIRST, LAST, EVERY = 10, 40, 10  # steps that are timed, and steps between Marian's lines


def pymarian():
    return installed("TH_PYMARIAN", ".venv-marian", "pymarian", PACKAGE)


class Trial:
    def __init__(self, words, folder):
        self.words, self.folder = words, folder
        self.model = folder / "model.npz"
        self.lengths = []
        self.vocabularies = [folder / "source.yml", folder / "target.yml"]
        for text, vocabulary in zip((words.source, words.target), self.vocabularies):
            listed = output_of([pymarian(), "vocab"], stdin=text.open())
            vocabulary.write_text(
                "".join(
                    line + "\n" for line in listed.splitlines() if re.match(r"\S.*: \d+$", line)
                ),
                encoding="utf-8",
            )

    def train_marian(self, steps=LAST):
        for old in self.folder.glob("model.npz*"):
            old.unlink()
        log = output_of([
            *(pymarian(), "train", "--type", "transformer", "--model", self.model),
            *("--train-sets", self.words.source, self.words.target, "--vocabs", *self.vocabularies),
            *("--dim-emb", 256, "--transformer-dim-ffn", 1024, "--transformer-heads", 4),
            *("--enc-depth", 3, "--dec-depth", 3, "--transformer-dropout", 0.1),
            *("--label-smoothing", 0.1, "--learn-rate", 0.001, "--mini-batch", 64),
            *("--after-batches", steps, "--disp-freq", EVERY, "--disp-label-counts"),
            *("--cpu-threads", 1, "--max-length", 256, "--seed", 1, "--workspace", 2000),
        ])
        rows = re.findall(r"Up\. (\d+) .*? \* ([\d,]+) .*?Time ([\d.]+)s", log)
        timed = [(int(labels.replace(",", "")), float(seconds))
                 for step, labels, seconds in rows if int(step) > FIRST]
        return sum(labels for labels, _ in timed) / sum(seconds for _, seconds in timed)

    def train_ours(self):
        output_of([
            *(self.words.bin / "th_app", ROOT / "inputs" / "multi30k.in", "model.norm=post"),
            *(f"data.train_source={self.words.source}", f"data.train_target={self.words.target}"),
            *("data.valid_source=", "data.valid_target=", "data.test_source=", "data.test_target="),
            *("data.batch_size=64", "train.micro_batches=1", f"train.max_steps={LAST}"),
            *("checkpoint.every_epochs=0", f"run.output_dir={self.folder / 'ours'}"),
        ])
        records = map(json.loads, (self.folder / "ours" / "metrics.jsonl").open())
        steps = [r for r in records if r["kind"] == "step" and FIRST < r["step"] <= LAST]
        return sum(s["target_tokens"] for s in steps) / sum(s["seconds"] for s in steps)

    def decode_rate(self, command_of):
        """Lines a second; the words of a line go to self.lengths."""
        took, counts = [], []
        for lines in (self.words.lines, self.words.lines // 4):
            source, target = self.folder / "lines", self.folder / "translated"
            text = self.words.test.read_text(encoding="utf-8").splitlines()[:lines]
            source.write_text("".join(f"{line}\n" for line in text), encoding="utf-8")
            begin = time.monotonic()
            output_of(command_of(source, target))
            took.append(time.monotonic() - begin)
            counts.append(lines)
            self.lengths.append(len(target.read_text(encoding="utf-8").split()) / lines)
        return (counts[0] - counts[1]) / (took[0] - took[1])

    def decode(self, beam):
        def marian(source, target):
            return [
                *(pymarian(), "decode", "--models", self.model, "--vocabs", *self.vocabularies),
                *("--input", source, "--output", target, "--beam-size", beam, "--mini-batch", 32),
                *("--maxi-batch", 100, "--maxi-batch-sort", "src", "--cpu-threads", 1, "--quiet"),
                *("--max-length", 256, "--max-length-factor", 2),
            ]

        def ours(source, target):
            return [
                *(self.words.bin / "th_translate", self.folder / "imported", "--threads", 1),
                *("--beam", beam, "--batch", 32, "--max-length", 32, "--input", source),
                *("--output", target, "--anew"),
            ]

        return self.decode_rate(ours), self.decode_rate(marian)

    def import_model(self):
        output_of([self.words.bin / "th_inspect", "import", "--from", "marian", self.model,
             "--vocabulary-source", self.vocabularies[0], "--vocabulary-target",
             self.vocabularies[1], "--output", self.folder / "imported", "--force"])


def row(name, pairs):
    ours, theirs = (statistics.median(side) for side in zip(*pairs))
    ratios = [a / b for a, b in pairs]
    print(f"| {name} | {ours:.0f} | {theirs:.0f} | {statistics.median(ratios):.2f} |"
          f" {min(ratios):.2f} {max(ratios):.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="training text, words with spaces between")
    parser.add_argument("target", type=Path)
    parser.add_argument("test", type=Path, help="source text to decode")
    parser.add_argument("--bin", type=Path, default=ROOT / "build" / "bin")
    parser.add_argument("--lines", type=int, default=512)
    parser.add_argument("--steps", type=int, default=300, help="of the model that is decoded with")
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        trial = Trial(words, Path(name))
        print("| | ours | Marian | ratio | least and most |\n| --- | ---: | ---: | ---: | --- |")
        row("training", [(trial.train_ours(), trial.train_marian()) for _ in range(words.rounds)])
        if words.steps > LAST:
            trial.train_marian(words.steps)
        trial.import_model()
        for beam in (1, 4):
            row(f"decoding, beam {beam}", [trial.decode(beam) for _ in range(words.rounds)])
        print(f"\nwords a line: {min(trial.lengths):.1f} to {max(trial.lengths):.1f}")


if __name__ == "__main__":
    main()
