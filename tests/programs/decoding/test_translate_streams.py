#!/usr/bin/env python3
"""th_translate on streams: lines come out while others still come in, in their order at every rank
count, and what can't be translated is told."""

import gzip
import os
import random
import select
import subprocess

import th_run
from translate_job import Job


class Streams(Job):
    def test_a_line_comes_out_while_the_pipe_stays_open(self):
        expected = self.translate(text="".join(f"{line}\n" for line in self.lines[:3])).out
        process = self.popen(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for line, wanted in zip(self.lines, expected.splitlines()):
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
            there, _, _ = select.select([process.stdout], [], [], 60)
            self.assertTrue(there, "no translation came while the input is open")
            self.assertEqual(process.stdout.readline().decode(), wanted + "\n")
        out, err = self.end_of(process, 0)
        self.assertEqual((out, err), (b"", ""))

    def test_order_is_that_of_the_input_at_every_rank_count_and_batch(self):
        lines = self.lines * 2
        random.Random(5).shuffle(lines)
        lines[7] = lines[90] = ""
        self.write("in", lines)
        reference = self.translate("--input", "in").out
        self.assertEqual(len(reference.splitlines()), len(lines))
        self.assertGreater(len(set(reference.splitlines())), 20)
        of_line = dict(zip(lines, reference.splitlines()))
        self.assertEqual([of_line[line] for line in lines], reference.splitlines())
        got = self.translate("--input", "in", "--threads", 1, ranks=3)
        self.assertEqual(got.out, reference, "3 ranks")
        text = (self.folder / "in").read_text()
        self.assertEqual(self.translate(ranks=2, text=text).out, reference)
        for options in (["--batch", 3], ["--batch-tokens", 300], ["--threads", 2]):
            self.assertEqual(self.translate("--input", "in", *options).out, reference, options)

    def test_packed_text_in_and_out(self):
        self.write("in", self.lines)
        reference = self.translate("--input", "in").out
        with gzip.open(self.folder / "in.gz", "wb") as file:
            file.write(self.bytes_of("in"))
        self.translate("--input", "in.gz", "--output", "out.gz")
        self.assertEqual(gzip.decompress(self.bytes_of("out.gz")).decode(), reference)
        self.translate("--input", "in", "--output", "plain")
        self.assertEqual(self.bytes_of("plain").decode(), reference)
        self.assertEqual(sorted(p.name for p in self.folder.glob("*.journal")), [])
        packed = gzip.compress(b"one\n")
        process = self.popen(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        _, err = process.communicate(packed, timeout=th_run.LIMIT_S)
        self.assertEqual(process.returncode, 3)
        self.assertIn("comes through a pipe; unpack it, for example with gunzip -c", err.decode())
        with open(self.folder / "in.gz", "rb") as file:
            process = self.popen(stdin=file, stdout=subprocess.PIPE)
            _, err = process.communicate(timeout=th_run.LIMIT_S)
        self.assertEqual(process.returncode, 3)
        self.assertIn("read as plain text; name the file with --input", err.decode())
        self.assertNotIn("pipe", err.decode())

    def test_a_job_with_an_output_file_ends_with_a_line_of_its_sums(self):
        self.write("in", [*self.lines[:50], ""])
        words = ("--input", "in", "--threads", 1)
        plain = self.translate(*words)
        texts = plain.out
        counted = (
            r"^th_translate: {}: 51 lines, "
            + f"{sum(len(line.split()) for line in self.lines[:50])} source and "
            + f"{len(texts.split())} target tokens in "
            + r"[0-9]+\.[0-9] s \([0-9.]+ lines/s, [0-9]+ target tokens/s\)$"
        )
        for ranks in (0, 2):
            result = self.translate(*words, "--output", f"out{ranks}", ranks=ranks)
            self.assert_one_message(result, counted.format(f"out{ranks} is complete"))
            self.assertEqual(self.bytes_of(f"out{ranks}").decode(), texts)
        shared = ("--sharded", "on", "--output", "shared")
        result = self.translate(*words, *shared, ranks=2)
        self.assert_one_message(result, counted.format("shared is complete"))
        self.assertNotIn("tokens/s", plain.err)
        alone = self.translate(*words, "--sharded", "on")
        self.assert_one_message(alone, "warning: --sharded on has no effect", "one process")

    def peak_kib(self, name):
        process = self.popen("--input", name, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0)
        return usage.ru_maxrss

    def test_memory_does_not_grow_with_the_input(self):
        few = "".join(f"{line}\n" for line in self.lines[:64])
        (self.folder / "short").write_text(few)
        (self.folder / "long").write_text(few + "\u3000\n" * 1_000_000)
        growth = self.peak_kib("long") - self.peak_kib("short")
        self.assertLess(growth, 32 << 10, "KiB more for a million lines")

    def test_lines_that_are_no_text_are_told_and_give_empty_lines(self):
        bad = [b"one\xff", b"two\0", b"x" * ((1 << 20) + 5)]
        good = [line.encode() for line in self.lines[:4]]
        rows = [good[0], bad[0], good[1], bad[1], good[2], bad[2], good[3]]
        (self.folder / "in").write_bytes(b"".join(row + b"\n" for row in rows))
        reference = self.translate(text="".join(f"{line}\n" for line in self.lines[:4])).out
        for ranks in (0, 2):
            result = self.translate("--input", "in", code=3, ranks=ranks)
            self.assertEqual(result.out.split("\n")[0:7:2], reference.splitlines())
            self.assertEqual(result.out.split("\n")[1:7:2], ["", "", ""])
            self.assert_one_message(result, "in:2: invalid UTF-8 at byte 4", "empty line")
            self.assert_one_message(result, "in:4: a zero byte at byte 4", "empty line")
            self.assert_one_message(result, "in:6: .*more than 1048576 bytes", "empty line")
            self.assert_one_message(result, "3 of 7 lines are invalid")

    def test_lines_before_the_damage_of_a_file_are_translated(self):
        text = "".join(f"{line}\n" for line in self.lines)
        reference = self.translate(text=text).out
        packed = gzip.compress(text.encode())
        (self.folder / "cut.gz").write_bytes(packed[: len(packed) // 2])
        for ranks in (0, 2):
            result = self.translate("--input", "cut.gz", code=3, ranks=ranks)
            self.assert_one_message(result, "cut.gz: damaged or cut off")
            self.assertGreater(len(result.out.splitlines()), 20)
            self.assertTrue(reference.startswith(result.out))

    def test_lines_that_are_cut_are_told_with_their_numbers(self):
        self.train(
            model__position="learned", data__max_length=12, decode__max_length=8, train__max_steps=2
        )
        self.write("in", ["one two", "one " * 30, "three", "four " * 13])
        self.write("target", ["un deux"] * 4)
        message = r"2 of 4 source lines were cut to the 12 positions .*: lines 2, 4$"
        self.assert_one_message(self.translate("--input", "in"), message)
        self.assert_one_message(self.translate("--input", "in", ranks=2), message)
        scored = self.translate("--score", "--input", "in", "--target", "target")
        self.assert_one_message(scored, message)

    def test_a_reader_that_closes_the_pipe_ends_it_quietly(self):
        self.write("in", self.lines * 20)
        process = self.popen("--input", "in", stdout=subprocess.PIPE)
        self.assertTrue(process.stdout.readline())
        process.stdout.close()
        self.assertEqual(process.wait(th_run.LIMIT_S), 0)
        with process.stderr as err:
            self.assertEqual(err.read(), b"")

    def test_best_lists_and_alignments(self):
        self.write("in", [self.lines[0], "", self.lines[1]])
        best = self.translate("--input", "in", "--beam", 3, "--n-best", 3, "--alignment").out
        rows = [line.split("\t") for line in best.splitlines()]
        self.assertEqual([row[0] for row in rows], ["0"] * 3 + ["1"] + ["2"] * 3)
        self.assertEqual(rows[3], ["1", "0", "", ""])
        plain = self.translate("--input", "in", "--beam", 3).out.splitlines()
        aligned = self.translate("--input", "in", "--beam", 3, "--alignment", ranks=2).out
        columns = [line.split("\t") for line in aligned.splitlines()]
        self.assertEqual([text for text, _ in columns], plain)
        for number in (0, 2):
            source = [self.lines[0], "", self.lines[1]][number].split()
            pairs = [pair.split("-") for pair in columns[number][1].split()]
            self.assertEqual([int(t) for _, t in pairs], list(range(len(plain[number].split()))))
            self.assertTrue(all(0 <= int(s) < len(source) for s, _ in pairs), pairs)
        self.assertEqual(columns[1], ["", ""])

    def test_unknown_words_are_replaced_by_those_of_the_source(self):
        self.train_on_numbers(
            schedule__warmup_steps=30,
            train__max_steps=40,
            decode__max_length=12,
            data__vocab_size=30,
            run__output_dir="few",
        )
        lines = self.lines[:30]
        self.write("in", [*lines, ""])
        model = self.latest("few")
        words = ("--input", "in", "--beam", 2)
        aligned = self.program("th_translate", model, *words, "--alignment").out
        expected, replaced = [], 0
        for source, row in zip([*lines, ""], aligned.splitlines()):
            text, pairs = row.split("\t")
            target = text.split()
            for pair in pairs.split():
                s, t = map(int, pair.split("-"))
                if target[t] == "<unk>":
                    target[t] = source.split()[s]
                    replaced += 1
            expected.append(" ".join(target))
        self.assertGreater(replaced, 5)
        result = self.program("th_translate", model, *words, "--replace-unknown", ranks=2)
        self.assertEqual(result.out.splitlines(), expected)
        keys = {"data__tokenizer": "bpe", "data__vocab_size": 420}
        self.train(train__max_steps=1, run__output_dir="pieces", **keys)
        refused = self.program(
            "th_translate", self.latest("pieces"), "--replace-unknown", text="", code=2
        )
        self.assert_one_message(refused, "--replace-unknown", "bpe")
        for other in (["--hierarchical"], ["--sharded", "on"], ["--serve", "socket"]):
            refused = self.translate("--replace-unknown", *other, text="", code=2)
            self.assert_one_message(refused, "--replace-unknown", other[0])

    def test_scores_of_pairs_are_the_same_at_every_rank_count(self):
        target = (self.folder / "train.fr").read_text().splitlines()
        self.write("in", self.lines)
        self.write("target", target)
        words = ("--score", "--input", "in", "--target", "target")
        reference = self.translate(*words).out
        self.assertEqual(len(reference.splitlines()), len(target))
        self.assertEqual(self.translate(*words, ranks=3).out, reference)
        rows = [line.encode() for line in target]
        rows[3], rows[7] = b"un \xff", b"deux \x00"
        (self.folder / "target").write_bytes(b"".join(row + b"\n" for row in rows))
        for ranks in (0, 2):
            result = self.translate(*words, code=3, ranks=ranks)
            wanted = reference.splitlines()
            wanted[3] = wanted[7] = ""
            self.assertEqual(result.out.splitlines(), wanted)
            self.assert_one_message(result, "target:4: .*; an empty line stands for it")
            self.assert_one_message(result, "error: 2 of 480 lines are invalid")
        self.write("target", target[1:])
        result = self.translate(*words, code=3)
        self.assertEqual(result.out, "")
        self.assert_one_message(result, "in has 480 lines and target has 479")

    def test_what_the_command_line_asks_and_can_not_be(self):
        cases = (
            (["--batch", 288230376151711744], "--batch 288230376151711744"),
            (["--batch", 0], "--batch 0"),
            (["--batch-tokens", 1 << 40], "--batch-tokens"),
            (["--threads", 1 << 20], "--threads"),
            (["--threads", 0], "--threads"),
            (["--batch", 65536, "--beam", 1024, "--max-length", 1 << 19], "GiB"),
            (["--batch", 3, "--batch-tokens", 9], "contradict"),
            (["--dtype", "int3"], "int3"),
            (["--input", "in", "--output", "in"], "which is read"),
            (["--target", "in"], "--score"),
            (["--anew"], "--output"),
            (["--max-source-length", 9], "--serve"),
            (["--serve", "socket", "--max-source-length", 0], "--max-source-length 0"),
        )
        self.write("in", self.lines[:2])
        for options, pattern in cases:
            self.assert_one_message(self.translate(*options, code=2, text=""), pattern)
        self.assertEqual(self.bytes_of("in").decode().splitlines(), self.lines[:2])
        result = self.translate("--batch", 0, code=2, ranks=2)
        self.assert_one_message(result, "--batch 0")
        result = self.translate("--input", "absent", code=3, ranks=2)
        self.assert_one_message(result, "absent")
        self.assertNotIn("deck", result.err)
        result = self.program("th_score", "--metric", "exact", "--target", "absent", code=3)
        self.assertIn("absent", result.err)
        self.assertNotIn("deck", result.err)
        help_text = self.program("th_translate", "-h", text="").out
        for option in ("--ensemble", "--batch-tokens", "--serve", "--beam"):
            self.assertIn(option, help_text)
        version = self.program("th_translate", "--version", text="").out
        self.assertRegex(version, r"^th_translate \d+\.\d+")

    def test_an_ensemble_is_of_one_vocabulary(self):
        self.write("in", self.lines[:20])
        alone = self.translate("--input", "in").out
        twice = self.translate("--input", "in", "--ensemble", self.latest()).out
        self.assertEqual(twice, alone, "a model and itself are the model")
        again = [path for path in (self.folder / "out" / "checkpoints").glob("step_*")]
        self.assertTrue(again)
        self.train(run__output_dir="other", train__max_steps=12)
        words = ("--input", "in", "--ensemble", self.latest("other"))
        self.assert_one_message(self.translate(*words, code=2), "vocabulary", "other")
        self.train(
            run__output_dir="same", train__max_steps=30, checkpoint__init_from=self.latest()
        )
        mixed = self.translate("--input", "in", "--ensemble", self.latest("same")).out
        self.assertEqual(len(mixed.splitlines()), 20)
        self.write("target", mixed.splitlines())
        words = ("--score", "--input", "in", "--target", "target")
        scores = [
            [float(line.split()[0]) for line in self.translate(*words, *more).out.splitlines()]
            for more in ([], ["--ensemble", self.latest("same")])
        ]
        second = self.program("th_translate", self.latest("same"), *words).out
        for one, both, line in zip(*scores, second.splitlines()):
            two = float(line.split()[0])
            self.assertLessEqual(min(one, two) - 1e-6, both)


if __name__ == "__main__":
    th_run.main()
