#!/usr/bin/env python3
"""Make the golden numbers of the scores with sacrebleu and rouge-score: golden_scores.json.

usage: make_scores.py [--output FOLDER]      (needs sacrebleu 2.6.0 and rouge-score 0.1.2)

A thousand pairs of hypothesis and reference of seven kinds of text (sentences.py), 60 summaries of
several sentences, and a few extreme corpora; each group has the scores of the whole, each line
chrF and ROUGE of its own.
"""

import argparse
import json
import os
import random

import sacrebleu
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF

import sentences

SEED = 21
LINES = 1000
SUMMARIES = 60
SMOOTHINGS = ("exp", "floor", "add-k", "none")
TOKENIZERS = ("13a", "none", "char", "zh")
ROUGES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


class Characters:
    """ROUGE's units for Chinese: every character but white space, ASCII in lower case."""

    def tokenize(self, text):
        return [c.lower() if c.isascii() else c for c in text if not c.isspace()]


SCORERS = {
    "words": rouge_scorer.RougeScorer(ROUGES),
    "characters": rouge_scorer.RougeScorer(ROUGES, tokenizer=Characters()),
}


def rounded(value):
    return float(f"{value:.6f}")


def rouge(pairs, units):
    """Means over the lines: precision, recall, F of each kind."""
    scores = [SCORERS[units].score(reference, hypothesis) for hypothesis, reference in pairs]
    mean = [
        [sum(s[kind][part] for s in scores) / len(scores) for part in range(3)] for kind in ROUGES
    ]
    return {kind: [rounded(v) for v in values] for kind, values in zip(ROUGES, mean)}


def scores_of(pairs):
    hypotheses, references = [h for h, _ in pairs], [[r for _, r in pairs]]
    out = {"bleu": {}, "chrf": [], "rouge": {units: rouge(pairs, units) for units in SCORERS}}
    for tokenizer in TOKENIZERS:
        for smoothing in SMOOTHINGS:
            metric = BLEU(tokenize=tokenizer, smooth_method=smoothing, force=True)
            score = metric.corpus_score(hypotheses, references)
            signature = str(metric.get_signature())
            out["bleu"][f"{tokenizer} {smoothing}"] = [
                rounded(score.score),
                str(score).partition(" = ")[2].partition(" ")[2],
                signature.rpartition("|version")[0],
            ]
    for word_order in (0, 1, 2):
        metric = CHRF(word_order=word_order)
        score = metric.corpus_score(hypotheses, references)
        out["chrf"].append(
            [
                rounded(score.score),
                score.name,
                str(metric.get_signature()).rpartition("|version")[0],
            ]
        )
    return out


def make_groups():
    draw = random.Random(SEED)
    groups = {language: [] for language in sentences.SENTENCES}
    for line in range(LINES):
        language = sorted(groups)[line % len(groups)]
        reference = sentences.variant(draw, language, draw.choice(sentences.SENTENCES[language]))
        groups[language].append((sentences.edited(draw, language, reference), reference))
    groups["summaries"] = []
    for line in range(SUMMARIES):
        language = ("en", "de", "zh")[line % 3]
        lines = [
            sentences.variant(draw, language, draw.choice(sentences.SENTENCES[language]))
            for _ in range(draw.randrange(1, 5))
        ]
        hypothesis = [sentences.edited(draw, language, text) for text in lines]
        draw.shuffle(hypothesis)
        groups["summaries"].append(("\n".join(hypothesis), "\n".join(lines)))
    some = groups["en"][:8]
    groups["all_empty"] = [("", reference) for _, reference in some]
    groups["empty_references"] = [(hypothesis, "") for hypothesis, _ in some]
    groups["both_empty"] = [("", "")] * 3
    groups["short"] = [("a b", "a b"), ("c", "c d e f g")]
    groups["no_four"] = [("the cat sat on a mat today", "the cat sat down on mats today")]
    groups["no_match"] = [("x y z w", "a b c d")] * 2
    groups["same"] = [(reference, reference) for _, reference in some]
    return groups


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", default=os.path.dirname(os.path.abspath(__file__)))
    path = os.path.join(parser.parse_args().output, "golden_scores.json")
    groups = make_groups()
    everything = [pair for language in sentences.SENTENCES for pair in groups[language]]
    rows = []
    for name, pairs in groups.items():
        rows.append(json.dumps(name) + ": " + json.dumps({"pairs": pairs} | scores_of(pairs)))
    rows.append('"everything": ' + json.dumps(scores_of(everything)))
    lines = [
        [
            round(CHRF(word_order=2).corpus_score([h], [[r]]).score, 4),
            *(round(SCORERS["words"].score(r, h)[kind].fmeasure, 5) for kind in ROUGES),
        ]
        for h, r in everything + groups["summaries"]
    ]
    rows.append('"lines": ' + json.dumps(lines))
    versions = json.dumps({"sacrebleu": sacrebleu.__version__, "rouge_score": "0.1.2"})
    rows.append('"versions": ' + versions)
    with open(path, "w", encoding="utf-8") as file:
        file.write("{" + ",\n".join(rows) + "}\n")
    print(f"{path}: {len(everything)} lines, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
