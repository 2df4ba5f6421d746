#!/usr/bin/env python3
"""th_corpus shortlist, and th_translate --shortlist: a sentence's candidates are its own, so no bit
of its translation depends on what stands beside it. With --long at every size of batches and beam
in every type."""

import gzip
import random
import re

import th_run

LINES = 100
BATCHES = (1, 7, 64) if th_run.LONG else (1, 64)  # beside the usual 32
BEAMS = (1, 5) if th_run.LONG else (5,)
FEW = ("--first", 3, "--best", 4)


class Shortlist(th_run.SharedRunTest):
    def train_once(self):
        self.train_on_numbers(
            schedule__warmup_steps=60,
            train__max_steps=80,
            decode__max_length=20,
        )

    def setUp(self):
        super().setUp()
        self.lines = th_run.NUMBERS["data__train_source"].read_text().splitlines()[:LINES]

    def make(self, name, *options, of=None, **keys):
        return self.program(
            "th_corpus", "shortlist", of or self.latest(), "--output", name, *options, **keys
        )

    def make_few(self, name="list"):
        """The same list each time, learned for the first test."""
        if not hasattr(type(self), "few"):
            self.make(name, *FEW)
            type(self).few = self.read(name)
        (self.folder / name).write_bytes(self.few)

    def translate(self, *options, lines=None, **keys):
        text = "".join(f"{line}\n" for line in (self.lines if lines is None else lines))
        return self.program("th_translate", self.latest(), *options, text=text, **keys)

    def read(self, name):
        return (self.folder / name).read_bytes()

    def test_the_same_bytes_each_time_and_from_the_deck(self):
        said = self.make("a").out
        self.make("b")
        self.assertEqual(self.read("a"), self.read("b"))
        deck = self.overrides(
            {**{key: str(value) for key, value in th_run.NUMBERS.items()}, "run__output_dir": "new"}
        )
        self.make("c", *deck, of=th_run.DECK)
        self.assertEqual(self.read("c"), self.read("a"))
        self.assertFalse((self.folder / "new").exists())
        mean, all_ids, share = map(
            float,
            re.search(r"has (\d+) candidates of (\d+) ids .* and ([\d.]+) % of its", said).groups(),
        )
        self.assertLess(mean, all_ids)
        self.assertGreater(share, 99)
        few = self.make("few", *FEW).out
        self.assertLess(float(re.search(r"has (\d+) candidates", few)[1]), mean)
        self.make("part", "--pairs", 50, "--iterations", 2, "--threshold", 0.01)
        self.assertNotEqual(self.read("part"), self.read("a"))

    def test_other_text_for_the_checkpoints_vocabularies(self):
        self.make("a", "data.train_source=train.en", "data.train_target=train.fr")
        self.make("b")
        self.assertNotEqual(self.read("a"), self.read("b"))
        head = [self.read(name).split(b"\n")[:3] for name in "ab"]
        self.assertEqual(head[0], head[1])

    def test_a_list_of_all_words_changes_no_text(self):
        self.make("all", "--first", 100000)
        for options in (("--beam", 1), ("--beam", 4)):
            plain = self.translate(*options).out
            self.assertGreater(len(set(plain.splitlines())), 20)
            self.assertEqual(self.translate(*options, "--shortlist", "all").out, plain)

    def check(self, dtype, beams=BEAMS, draws=False):
        self.make_few()
        order = list(range(LINES))
        shuffled = random.Random(5).sample(order, LINES)
        words = ("--shortlist", "list", "--dtype", dtype)
        for beam in beams:
            best = (*words, "--beam", beam, "--n-best", beam)
            reference = self.translate(*best).out
            for batch in BATCHES:
                self.assertEqual(self.translate(*best, "--batch", batch).out, reference, batch)
            found = self.by_line(reference)
            back = (*best, "--threads", 2)
            back = self.translate(*back, lines=[self.lines[i] for i in shuffled]).out
            self.assertEqual(self.by_line(back), [found[i] for i in shuffled])
        alone = self.translate(*best, lines=self.lines[3:4]).out
        self.assertEqual(self.by_line(alone), found[3:4])
        self.assertNotEqual(self.translate(*best[2:]).out, reference, "nothing was left out")
        if draws:
            best = (*words, "--sampling", "--n-best", 3)
            reference = self.translate(*best).out
            for batch in BATCHES[1:]:
                self.assertEqual(self.translate(*best, "--batch", batch).out, reference)

    def by_line(self, out):
        """[the hypotheses and their scores of a line …]"""
        rows = [row.split("\t", 1) for row in out.splitlines()]
        return [[rest for at, rest in rows if at == str(n)] for n in range(int(rows[-1][0]) + 1)]

    def test_fp32_is_the_sentences_own(self):
        self.check("fp32", beams=(1, 5), draws=True)

    def test_bf16_is_the_sentences_own(self):
        self.check("bf16", draws=True)

    def test_fp16_is_the_sentences_own(self):
        self.check("fp16")

    def test_int8_is_the_sentences_own(self):
        th_run.skip_without_int8(self)
        self.check("int8")

    def test_ranks_shards_and_ensembles(self):
        self.make_few()
        (self.folder / "in").write_text("".join(f"{line}\n" for line in self.lines))
        words = ("--input", "in", "--shortlist", "list", "--threads", 1, "--beam", 3)
        reference = self.translate(*words).out
        for ranks, options in ((3, ()), (2, ("--sharded", "on"))):
            self.assertEqual(self.translate(*words, *options, ranks=ranks).out, reference, options)
        alike = self.translate(*words, "--ensemble", self.latest()).out
        self.assertEqual(alike, reference)

    def test_a_job_is_of_its_list(self):
        self.make_few()
        self.make("other", "--first", 0, "--best", 1)
        (self.folder / "in").write_text("".join(f"{line}\n" for line in self.lines))
        words = ("--input", "in", "--output", "o", "--threads", 1, "--shortlist")
        reference = self.translate("--input", "in", "--shortlist", "list").out
        done, again = "o is complete: 100 lines, ", "o is complete: this job wrote its 100"
        for name, said in (("list", done), ("list", again), ("other", done), ("list", done)):
            self.assert_one_message(self.translate(*words, name), said)
            self.assertEqual(self.read("o").decode() == reference, name == "list")
        record = self.read("o.done")
        self.assertIn(b"shortlist=", record)
        # What a kill would have left: the journal, whose job is another by its list alone.
        (self.folder / "o.done").rename(self.folder / "o.journal")
        for options in ((*words, "other"), words[:-1]):
            refused = self.translate(*options, code=2)
            self.assert_one_message(refused, "o.journal", "its options")
            self.assertEqual(self.read("o").decode(), reference)
            self.assertEqual(self.read("o.journal"), record)
        self.translate(*words, "list", "--replace-unknown", "--anew")

    def test_a_packed_file_and_a_prefix_of_other_words(self):
        self.make("list", "--first", 0, "--best", 1)
        reference = self.translate("--shortlist", "list").out
        (self.folder / "list.gz").write_bytes(gzip.compress(self.read("list")))
        self.assertEqual(self.translate("--shortlist", "list.gz").out, reference)
        prefix = "vingt"
        (self.folder / "prefix").write_text(f"{prefix}\n" * LINES)
        out = self.translate("--shortlist", "list", "--prefix", "prefix").out.splitlines()
        self.assertEqual({line.split()[0] for line in out}, {prefix})

    def test_what_is_no_shortlist_of_the_model_is_one_line(self):
        self.make("list")
        text = self.read("list")
        (self.folder / "cut").write_bytes(text[:-30])
        (self.folder / "garbage").write_bytes(b"\x00\xff" * 50)
        self.train(run__output_dir="other", train__max_steps=1, data__vocab_size=40)
        self.make("foreign", of=self.latest("other"))
        for name, pattern in (
            ("foreign", "of another source vocabulary"),
            ("cut", "damaged or cut"),
            ("garbage", "is no shortlist"),
            ("missing", "missing"),
        ):
            result = self.translate("--shortlist", name, code=3)
            self.assert_one_message(result, name, pattern)
            self.assertEqual(result.err.count("\n"), 1, result)
            self.assertEqual(result.out, "")
        score = ("--score", "--input", "train.en", "--target", "train.fr", "--shortlist", "list")
        self.assert_one_message(self.translate(*score, code=2), "--score", "--shortlist")

    def test_a_command_line_that_is_wrong(self):
        for words, pattern in (
            (("--best", 0), "--best 0"),
            (("--best", "many"), "--best many"),
            (("--threshold", 2), "--threshold 2"),
            (("--pairs",), "--pairs lacks"),
            (("--most", 1), "unknown option --most"),
            (("data.no_such=1",), "data.no_such"),
        ):
            self.assert_one_message(self.make("x", *words, code=2), pattern)
        nothing = self.program("th_corpus", "shortlist", self.latest(), code=2)
        self.assert_one_message(nothing, "--output", "needed")
        (self.folder / "mine").write_text("a letter\n")
        self.assert_one_message(self.make("mine", code=2), "mine", "--force replaces it")
        self.assertEqual(self.read("mine"), b"a letter\n")
        self.make("mine", "--force")
        self.make("mine", *FEW)
        self.assert_one_message(self.make("no/such/folder/x", code=3), "no/such/folder")
        self.program("th_corpus", "shortlist", "nowhere", "--output", "x", code=2)
        self.assertFalse((self.folder / "x").exists())


if __name__ == "__main__":
    th_run.main()
