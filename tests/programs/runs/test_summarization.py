#!/usr/bin/env python3
"""run.task = summarization: ROUGE in validation and for the test set; documents above the window
are summarized chunk by chunk, the same at every rank count, in training and by th_translate."""

import th_run

WINDOW, LONGEST = 64, 12  # ids of a source, and of a summary without its end
OVERLAP = WINDOW // 4
PAIRS, HELD_OUT = 200, 10
ROUGE = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
KEYS = {
    "run__task": "summarization",
    "data__max_source_length": WINDOW,
    "data__max_target_length": 20,
    "data__batch_size": 4,
    "decode__max_length": LONGEST,
    "train__max_steps": 40,
    **{
        f"data__{part}_{side}": f"records.{part}.{side}"
        for part in ("train", "valid", "test")
        for side in ("source", "target")
    },
}


def chunks(words):
    """Of a document's words, as docs/summarization.md has it; one with its end is WINDOW ids."""
    if len(words) < WINDOW:
        return [words]
    out, begin = [], 0
    while not out or begin + OVERLAP < len(words):
        out.append(words[begin : begin + WINDOW - 1])
        begin += WINDOW - 1 - OVERLAP
    return out


class Summarization(th_run.SharedRunTest):
    def train_once(self):
        self.records()
        self.train(ranks=3, **KEYS)

    def setUp(self):
        super().setUp()
        if not (self.folder / "records.test.source").exists():
            self.records()

    def records(self):
        """Four windows a document, and one more that fits into one."""
        words = ("records", "--pairs", PAIRS, "--seed", 5, "--windows", 4, "--output", ".")
        self.program("th_corpus", *words)
        for part in ("valid", "test"):
            for side, text in (("source", "the load was linen .\n"), ("target", "of linen\n")):
                with open(self.folder / f"records.{part}.{side}", "a", encoding="utf-8") as file:
                    file.write(text)

    def evals(self, run="out"):
        return self.metrics(run, "eval")

    def hypotheses(self, run="out"):
        return (self.folder / run / "test.hyp").read_text()

    def summarize(self, documents):
        """By th_translate, a call a round, in the way of the page and not by th_translate's own."""
        texts, open_documents = {}, {i: line.split() for i, line in enumerate(documents)}
        while open_documents:
            pieces = [(i, piece) for i, words in open_documents.items() for piece in chunks(words)]
            lines = "".join(" ".join(piece) + "\n" for _, piece in pieces)
            summaries = self.program("th_translate", self.latest(), text=lines).out.splitlines()
            following = {}
            for i, words in open_documents.items():
                mine = [s for (of, _), s in zip(pieces, summaries) if of == i]
                texts[i] = " ".join(s for s in mine if s.strip())
                joined = texts[i].split()
                if len(mine) == 1 or not joined:
                    continue
                if 4 * (len(joined) + 1) > 3 * (len(words) + 1):
                    joined = joined[: WINDOW - 1]
                following[i] = joined
            open_documents = following
        return [texts[i] for i in range(len(documents))]

    def test_rouge_is_the_metric(self):
        valid = [r["metric"] for r in self.evals() if r["set"] == "valid"]
        self.assertEqual(valid[: len(ROUGE)], ROUGE)
        test = [r["metric"] for r in self.evals() if r["set"] == "test"]
        self.assertEqual(test, [*ROUGE, "exact"])
        log = (self.folder / "out" / "run.log").read_text()
        self.assertRegex(log, r"Validation at step \d+: ROUGE-1 = 0\.\d{4}, ROUGE-2 = ")
        self.assertRegex(log, r"Test set: ROUGE-1 = 0\.\d{4}, .*, \d+\.\d % of 11 lines exact")
        self.assertNotIn("BLEU", log)
        words = ("--metric", "rouge", "--input", "out/test.hyp", "--target", "records.test.target")
        scores = self.program("th_score", *words).out
        for record in self.evals()[-len(ROUGE) - 1 : -1]:
            self.assertRegex(
                scores, rf"(?m)^{record['metric']}\|.* = {float(record['value']):.4f} "
            )

    def test_long_documents_are_the_summary_of_their_chunks_summaries(self):
        documents = (self.folder / "records.test.source").read_text().splitlines()
        self.assertEqual(len(documents), HELD_OUT + 1)
        self.assertTrue(all(len(chunks(line.split())) >= 5 for line in documents[:-1]))
        self.assertEqual(self.hypotheses().splitlines(), self.summarize(documents))

    def test_other_rank_counts_and_stages_give_the_same_bytes(self):
        for ranks, stage in ((0, 0), (2, 3)):
            run = f"np{ranks}"
            self.train(ranks=ranks, zero__stage=stage, run__output_dir=run, **KEYS)
            self.assertEqual(self.hypotheses(run), self.hypotheses())
            self.assertEqual(self.evals(run), self.evals())

    def test_th_translate_summarizes_as_the_run_does(self):
        for ranks, words in ((0, ()), (3, ("--batch", 5)), (0, ("--batch-tokens", 200))):
            result = self.program(
                "th_translate",
                self.latest(),
                "--hierarchical",
                "--input",
                "records.test.source",
                *words,
                ranks=ranks,
            )
            self.assertEqual(result.out, self.hypotheses())
        self.assertEqual(
            self.program("th_translate", self.latest(), "--hierarchical", text=" \n\n").out, "\n\n"
        )

    def test_one_summary_a_line_contradicts_other_outputs(self):
        for words in (
            ("--n-best", 1),
            ("--alignment",),
            ("--score", "--input", "records.test.source", "--target", "records.test.target"),
            ("--prefix", "records.test.target", "--input", "records.test.source"),
            ("--serve", "socket"),
        ):
            result = self.program("th_translate", self.latest(), "--hierarchical", *words, code=2)
            self.assert_one_message(result, "--hierarchical", words[0])

    def test_the_beginning_alone_where_chunks_are_not_wanted(self):
        self.train(summarization__hierarchical="false", run__output_dir="cut", **KEYS)
        documents = (self.folder / "records.test.source").read_text().splitlines()
        beginnings = "".join(" ".join(line.split()[: WINDOW - 1]) + "\n" for line in documents)
        expected = self.program("th_translate", self.latest(), text=beginnings).out
        self.assertEqual(self.hypotheses("cut"), expected)
        self.assertEqual(
            self.hypotheses("cut").splitlines()[-1],
            self.hypotheses().splitlines()[-1],
            "a document of one window is summarized as it is",
        )

    def test_memory_plan_holds_chunks(self):
        summary = self.metrics(kind="summary")[0]
        for planned, measured in zip(summary["planned_bytes"], summary["measured_bytes"]):
            self.assertAlmostEqual(int(measured) / int(planned), 1, delta=0.02)


if __name__ == "__main__":
    th_run.main()
