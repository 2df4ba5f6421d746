#!/usr/bin/env python3
"""Decodes the same lines by th_translate and by CTranslate2, in turn, and prints target tokens a
second and their ratios as a Markdown table.

Every translation is forced to one length, so both sides do the same work whatever they say. A
rate is of the lines alone: the time of a short input is taken off that of a long one, so loading
and starting do not count. Both sides see the same file and the same threads; medians over the
rounds.

CTranslate2's Python: TH_CTRANSLATE2_PYTHON, else benchmarks/peers/.venv-ctranslate2, which is made
from PyPI where it is missing. The model is exported by th_inspect.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from peer_programs import installed, output_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ctranslate2==4.8.5",)
SHORT = 0.25  # of the lines, for the time that is taken off
# our type: those of CTranslate2 that it is put beside
TYPES = {"fp32": ("float32",), "bf16": ("float32",), "int8": ("int8",)}

PEER = """
import os, sys, ctranslate2
model, source, target, kind, workers, threads, beam, batch, length, tokens = sys.argv[1:]
translator = ctranslate2.Translator(
    model, device="cpu", compute_type=kind, inter_threads=int(workers), intra_threads=int(threads))
lines = [line.split() for line in open(tokens, encoding="utf-8").read().splitlines()]
results = translator.translate_batch(
    lines, beam_size=int(beam), max_batch_size=int(batch), batch_type="examples",
    min_decoding_length=int(length), max_decoding_length=int(length),
    use_vmap=os.path.exists(os.path.join(model, "vmap.txt")))
with open(target, "w", encoding="utf-8") as out:
    for result in results:
        print(" ".join(result.hypotheses[0]), file=out)
"""


def peer_python():
    return installed("TH_CTRANSLATE2_PYTHON", ".venv-ctranslate2", "python", *PACKAGES)


def seconds(command, threads):
    begin = time.monotonic()
    # CTranslate2 waits in a spinning loop of OpenMP's otherwise, beside our run.
    output_of(command, threads)
    return time.monotonic() - begin


class Lines:
    """A long input and a short one, of the same mixture of lengths."""

    def __init__(self, path, count, folder):
        all_lines = path.read_text(encoding="utf-8").splitlines()
        lines = [all_lines[i % len(all_lines)] for i in range(count)]
        self.counts = (count, max(1, int(count * SHORT)))
        self.paths = (folder / "long.txt", folder / "short.txt")
        for kept, to in zip(self.counts, self.paths):
            step = count // kept
            to.write_text("".join(f"{line}\n" for line in lines[::step][:kept]), encoding="utf-8")

    def rate(self, command_of, length, threads):
        """Tokens a second of what command_of(path) decodes."""
        long, short = (seconds(command_of(path), threads) for path in self.paths)
        return (self.counts[0] - self.counts[1]) * length / (long - short)


def write_vmap(shortlist, model):
    """A list of th_corpus shortlist as CTranslate2's map of source to target words."""
    shared = model / "shared_vocabulary.json"
    source, target = (
        json.loads((shared if shared.exists() else model / f"{side}_vocabulary.json").read_text())
        for side in ("source", "target")
    )
    rows = []
    for line in shortlist.read_text(encoding="utf-8").splitlines():
        key, _, ids = line.partition("\t") if "\t" in line else line.partition(" ")
        if key == "first" or "\t" in line:
            words = " ".join(target[int(i)] for i in ids.split())
            rows.append(f"{'' if key == 'first' else source[int(key)]}\t{words}\n")
    (model / "vmap.txt").write_text("".join(rows), encoding="utf-8")


def commands(words, model, kind, peer_kind):
    """The two commands, as functions of the input."""
    launch = ("mpirun", "-np", words.ranks) if words.ranks > 1 else ()
    ours = [
        *(*launch, words.translate, words.checkpoint, "--dtype", kind, "--threads", words.threads),
        *("--beam", words.beam, "--batch", words.batch, "--length-penalty", 0),
        *("--min-length", words.length, "--max-length", words.length),
        *(("--shortlist", words.shortlist) if words.shortlist else ()),
    ]
    python = peer_python()
    return (
        lambda path: [*ours, "--input", path, "--output", path.with_suffix(".ours"), "--anew"],
        lambda path: [
            *(python, "-c", PEER, model, path, path.with_suffix(".theirs"), peer_kind),
            *((words.ranks, 1) if words.ranks > 1 else (1, words.threads)),
            *(words.beam, words.batch, words.length, path),
        ],
    )


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("lines", type=Path, help="source text, words with spaces between")
    parser.add_argument("--translate", default=ROOT / "build" / "bin" / "th_translate")
    parser.add_argument("--inspect", default=ROOT / "build" / "bin" / "th_inspect")
    parser.add_argument("--types", default="fp32,int8,bf16")
    parser.add_argument("--count", type=int, default=256, help="lines of the long input")
    parser.add_argument("--length", type=int, default=30, help="tokens of each translation")
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--ranks",
        type=int,
        default=1,
        help="below mpirun, beside as many workers of CTranslate2 (inter_threads)",
    )
    parser.add_argument("--shortlist", type=Path, help="of th_corpus; beside CTranslate2's vmap")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def main():
    words = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model"
        export = (words.inspect, "export", words.checkpoint, "--format", "ctranslate2")
        output_of((*export, "--output", model))
        if words.shortlist:
            write_vmap(words.shortlist, model)
        lines = Lines(words.lines, words.count, folder)
        print(
            f"{words.count} lines, {words.length} tokens each, beam {words.beam}, batches of"
            f" {words.batch}, {words.ranks} ranks, {words.threads} threads, {words.rounds} rounds;"
            f" tokens/s, medians\n"
        )
        print("| th_translate | CTranslate2 | ours | theirs | ratio | least and most |")
        print("| --- | --- | ---: | ---: | ---: | --- |")
        for kind in words.types.split(","):
            for peer_kind in TYPES[kind]:
                ours, theirs = commands(words, model, kind, peer_kind)
                pairs = [
                    tuple(lines.rate(side, words.length, words.threads) for side in (ours, theirs))
                    for _ in range(words.rounds)
                ]
                ratios = [a / b for a, b in pairs]
                first, second = (statistics.median(side) for side in zip(*pairs))
                print(
                    f"| {kind} | {peer_kind} | {first:.0f} | {second:.0f} |"
                    f" {statistics.median(ratios):.2f} | {min(ratios):.2f} {max(ratios):.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
