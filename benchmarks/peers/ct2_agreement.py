#!/usr/bin/env python3
"""Translates the same lines by th_translate and, after th_inspect export, by CTranslate2, and
counts on how many both give one text; and compares the sums of log p of given targets.

Greedy and with a beam, length penalty 0, fp32. Exit 1 where less than --share of the lines agree or
a sum is further off than --within. CTranslate2's Python: TH_CTRANSLATE2_PYTHON, else
benchmarks/peers/.venv-ctranslate2; of subword tokenizers it needs sentencepiece too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

PEER = """
import json, sys, ctranslate2
asked = json.load(sys.stdin)
def side(name):
    if not asked[name + "_model"]:
        return str.split, " ".join
    import sentencepiece
    model = sentencepiece.SentencePieceProcessor(model_file=asked[name + "_model"])
    return (lambda line: model.encode(line, out_type=str)), model.decode
cut, _ = side("source")
cut_target, join = side("target")
translator = ctranslate2.Translator(
    asked["model"], device="cpu", compute_type="float32", inter_threads=1, intra_threads=1)
source = [cut(line) for line in asked["source"]]
scored = translator.score_batch(source, [cut_target(line) for line in asked["target"]])
out = {"sums": [sum(one.log_probs) for one in scored]}
for beam in asked["beams"]:
    found = translator.translate_batch(
        source, beam_size=beam, length_penalty=0, min_decoding_length=0,
        max_decoding_length=asked["longest"], max_batch_size=32)
    out[str(beam)] = [join(one.hypotheses[0]) for one in found]
json.dump(out, sys.stdout)
"""


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--bin", type=Path, default=ROOT / "build" / "bin")
    parser.add_argument("--count", type=int, default=1000, help="lines of the files")
    parser.add_argument("--beams", default="1,4", help="with commas")
    parser.add_argument("--threads", type=int, default=1, help="of th_translate")
    parser.add_argument("--longest", type=int, default=100, help="tokens of a translation")
    parser.add_argument("--share", type=float, default=0.995)
    parser.add_argument("--within", type=float, default=1e-4)
    return parser.parse_args()


def program(options, name, *words):
    done = subprocess.run(
        [str(options.bin / name), *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{name} ended with code {done.returncode}:\n{done.stderr}")
    return done.stdout.splitlines()


def peer(options, model, source, target):
    own = HERE / ".venv-ctranslate2" / "bin" / "python"
    python = os.environ.get("TH_CTRANSLATE2_PYTHON", str(own))
    asked = {
        "model": str(model),
        "source": source,
        "target": target,
        "beams": [int(beam) for beam in options.beams.split(",")],
        "longest": options.longest,
    }
    for side in ("source", "target"):
        path = model / f"{side}.spm"
        asked[f"{side}_model"] = str(path) if path.exists() else ""
    done = subprocess.run(
        [python, "-c", PEER],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode != 0:
        sys.exit(f"{python} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def lines_of(path, count):
    return path.read_text(encoding="utf-8").split("\n")[:-1][:count]


def main():
    options = arguments()
    source, target = (lines_of(path, options.count) for path in (options.source, options.target))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ("--format", "ctranslate2", "--output", folder / "model")
        program(options, "th_inspect", "export", options.checkpoint, *words)
        for kind, lines in (("source", source), ("target", target)):
            text = "".join(f"{line}\n" for line in lines)
            (folder / kind).write_text(text, encoding="utf-8")
        given = ("--input", folder / "source", "--threads", options.threads)
        scored = program(
            *(options, "th_translate", options.checkpoint, "--score", *given),
            *("--target", folder / "target"),
        )
        theirs = peer(options, folder / "model", source, target)
        sums = [float(line.split("\t")[0]) for line in scored]
        apart = max(abs(a - b) for a, b in zip(sums, theirs["sums"]))
        print(f"sums of log p of {len(sums)} targets: largest difference {apart:.2e}")
        fine = apart <= options.within
        for beam in options.beams.split(","):
            ours = program(
                *(options, "th_translate", options.checkpoint, *given, "--beam", beam),
                *("--length-penalty", 0, "--max-length", options.longest),
            )
            other = [at for at, (a, b) in enumerate(zip(ours, theirs[beam])) if a != b]
            share = 1 - len(other) / len(ours)
            print(f"beam {beam}: the same text on {share:.2%} of {len(ours)} lines")
            for at in other[:3]:
                print(f"  line {at + 1}: {ours[at]!r}, CTranslate2 {theirs[beam][at]!r}")
            fine = fine and share >= options.share
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
