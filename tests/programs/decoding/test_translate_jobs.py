#!/usr/bin/env python3
"""th_translate --output: jobs that are killed or stopped go on to the same bytes, and journals of
other jobs are refused."""

import gzip
import random
import re
import signal
import subprocess
import time

import th_run
from translate_job import Job

TIMES = 4  # so often the text stands in the input: enough pieces of output to be killed between


class Jobs(Job):
    OPTIONS = ("--beam", 16, "--threads", 1)  # slow enough to be killed on its way

    def setUp(self):
        super().setUp()
        self.write("in", self.lines * TIMES)
        if not hasattr(type(self), "reference"):
            type(self).reference = self.translate("--input", "in", *self.OPTIONS).out.encode()

    def job(self, *options, **keys):
        return self.popen("--input", "in", "--output", "o", *self.OPTIONS, *options, **keys)

    def goes_on(self, **keys):
        result = self.translate("--input", "in", "--output", "o", *self.OPTIONS, **keys)
        self.assertEqual(self.bytes_of("o"), self.reference)
        self.assertFalse((self.folder / "o.journal").exists())
        return result

    def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(self):
        draws = random.Random(11)
        killed = 0
        for attempt in range(12 if th_run.LONG else 2):
            twice = all(self.killed_behind(records, draws) for records in (1, draws.randint(2, 3)))
            if twice:
                killed += 1
                self.assertIn("goes on behind line", self.goes_on(ranks=2 * (attempt % 2)).err)
            self.assertEqual(self.bytes_of("o"), self.reference)
            (self.folder / "o").unlink()
        self.assertGreater(killed, 0, "every job was done before it could be killed twice")

    def killed_behind(self, records, draws):
        """Whether a job was killed behind so many pieces of output, and not done before."""
        process = self.job()
        if self.has_output(process, records):
            time.sleep(draws.uniform(0, 0.1))
            process.kill()
        process.communicate()
        return process.returncode != 0

    def has_output(self, process, records=1):
        """Waits until its journal tells of so many pieces of output; False: it ended before."""
        limit = time.monotonic() + th_run.LIMIT_S
        path = self.folder / "o.journal"
        while not (path.exists() and path.read_bytes().count(b"\n") > records):
            if process.poll() is not None:
                return False
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.005)
        return True

    def wait_for_output(self, process):
        self.assertTrue(self.has_output(process), "it ended before anything was written")

    def test_stopped_by_a_signal_it_keeps_the_journal_and_goes_on(self):
        for number, ranks in ((signal.SIGTERM, 0), (signal.SIGUSR1, 2)):
            process = self.job("--anew", ranks=ranks)
            self.wait_for_output(process)
            process.send_signal(number)
            _, err = self.end_of(process, 75)
            self.assertRegex(err, r"stopped behind line \d+; o.journal is kept")
            self.assertTrue((self.folder / "o.journal").exists())
            self.assertTrue(self.reference.startswith(self.bytes_of("o")))
            self.assertIn("goes on behind line", self.goes_on().err)

    def test_stopped_without_an_output_file_it_writes_whole_lines(self):
        process = self.popen("--input", "in", *self.OPTIONS, stdout=subprocess.PIPE)
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, err = self.end_of(process, 128 + signal.SIGTERM)
        self.assertIn("stopped by SIGTERM behind line", err)
        self.assertTrue(self.reference.startswith(first + out))
        self.assertTrue((first + out).endswith(b"\n"))

    def stopped_job(self):
        process = self.job()
        self.wait_for_output(process)
        process.kill()
        process.communicate()
        return self.bytes_of("o"), self.bytes_of("o.journal")

    def test_a_journal_of_another_job_is_refused_and_nothing_is_touched(self):
        kept = self.stopped_job()
        words = ("--input", "in", "--output", "o")
        self.write("other", [*self.lines, "one"])
        cases = (
            ((*words, "--beam", 3, "--threads", 1), "its options"),
            (("--input", "other", "--output", "o", *self.OPTIONS), "its input"),
            ((*words, *self.OPTIONS, "--ensemble", self.latest()), "its model"),
        )
        for ranks, (options, pattern) in zip((2, 0, 0), cases):
            result = self.translate(*options, code=2, ranks=ranks)
            self.assert_one_message(result, "o.journal", pattern)
            self.assertEqual((self.bytes_of("o"), self.bytes_of("o.journal")), kept)
        (self.folder / "o").write_bytes(b"x" * len(kept[0]))
        result = self.translate(*words, *self.OPTIONS, code=2)
        self.assert_one_message(result, "o is not what o.journal tells of")
        (self.folder / "o").write_bytes(kept[0])
        # A tail that a node lost, and a last line of the journal that is torn.
        (self.folder / "o").write_bytes(kept[0][:-1])
        (self.folder / "o.journal").write_bytes(kept[1] + b"[1, 2")
        self.goes_on()
        # Lines of numbers that no job wrote are torn too.
        lines = (b"[" * 100000, b"[1e300,0,0,1,1,1]", b"[-1,0,0,1,1,1]", b"[1,0,0,1,1.5,1]")
        for line in lines if th_run.LONG else lines[:2]:
            (self.folder / "o").write_bytes(kept[0])
            (self.folder / "o.journal").write_bytes(kept[1] + line + b"\n")
            self.goes_on()
        for text in ("a diary\n", "a line of mine"):
            (self.folder / "o.journal").write_text(text)
            result = self.translate(*words, *self.OPTIONS, code=2)
            self.assert_one_message(result, "o.journal is no journal")
            self.assertEqual((self.folder / "o.journal").read_text(), text)
        other = kept[1].replace(b'"arithmetic":"', b'"arithmetic":"abacus, ')
        self.assertNotEqual(other, kept[1])
        (self.folder / "o").write_bytes(kept[0])
        (self.folder / "o.journal").write_bytes(other)
        self.assert_one_message(self.goes_on(), "warning: the lines so far were made by abacus")

    def test_a_job_that_is_done_is_not_done_again_unless_it_is_told_to(self):
        self.write("few", self.lines[:90])
        expected = self.translate("--input", "few").out.encode()
        words = ("--input", "few", "--output", "o", "--threads", 1)

        def works(*options, ranks, lines=90):
            result = self.translate(*words, *options, ranks=ranks)
            self.assert_one_message(result, f"o is complete: {lines} lines, .* tokens/s")
            self.assertEqual(self.bytes_of("o"), expected)

        for ranks in (0, 2):
            works(ranks=ranks)
            (self.folder / "o").touch()
            written = (self.folder / "o").stat().st_mtime_ns
            again = self.translate(*words, ranks=2 - ranks)
            self.assert_one_message(again, "o is complete: this job wrote its 90 lines", "--anew")
            self.assertNotIn("tokens/s", again.err)
            self.assertEqual((self.folder / "o").stat().st_mtime_ns, written)
            self.assertEqual(self.bytes_of("o"), expected)
            if ranks == 0:
                works("--anew", ranks=ranks)
                (self.folder / "o").write_bytes(expected[:-1])
                refused = self.translate(*words, ranks=2, code=2)
                self.assert_one_message(refused, "o is not what o.done tells of", "--anew")
                self.assertEqual(self.bytes_of("o"), expected[:-1])
                works("--anew", ranks=2)
                (self.folder / "o").unlink()
        self.write("other", self.lines[:40])
        other = ("--input", "other", "--output", "o", "--threads", 1)
        self.assertIn("40 lines, ", self.translate(*other).err)
        self.assertEqual(self.bytes_of("o").count(b"\n"), 40)
        self.assertIn("wrote its 40 lines before", self.translate(*other).err)
        self.assertIn("40 lines, ", self.translate(*other, "--beam", 2).err, "other options")

    def test_an_output_stays_as_it_is_where_its_job_can_not_begin(self):
        self.write("few", self.lines[:5])
        words = ("--input", "few", "--output", "o")
        self.translate(*words)
        kept = {name: self.bytes_of(name) for name in ("o", "o.done")}
        (self.folder / "cut.gz").write_bytes(gzip.compress(b"one\n" * 9)[:-12])
        (self.folder / "precious").write_text("a text of mine\n")
        for options, code, message in (
            (("--input", "absent"), 3, "absent"),
            (("--input", "."), 3, "is a folder"),
            (("--input", "cut.gz"), 3, "cut.gz"),
            (("--score", "--input", "few", "--target", "absent"), 3, "absent"),
            (("--input", ""), 2, "--input is given without a value"),
        ):
            for ranks in (0, 2):
                result = self.translate(*options, "--output", "o", ranks=ranks, code=code)
                self.assert_one_message(result, message)
                self.assertEqual({name: self.bytes_of(name) for name in kept}, kept, options)
                self.assertFalse((self.folder / "o.journal").exists(), options)
        self.assert_one_message(self.translate(*words), "o is complete")
        refused = self.translate("--input", "few", "--output", "precious", code=2)
        self.assert_one_message(refused, "precious exists", "--anew")
        self.assertEqual(self.bytes_of("precious"), b"a text of mine\n")
        for name in ("o.done", "new.journal"):
            refused = self.translate("--input", "few", "--output", name, code=2)
            self.assert_one_message(refused, "names that end with .done and .journal")
        self.assertEqual(self.bytes_of("o.done"), kept["o.done"])

    def test_a_job_that_is_done_keeps_its_code_and_pipes_are_translated_anew(self):
        (self.folder / "bad").write_bytes(b"one\n\xff\n")
        words = ("--input", "bad", "--output", "o")
        first = self.translate(*words, code=3)
        again = self.translate(*words, code=3)
        for result in (first, again):
            self.assert_one_message(result, "error: 1 of 2 lines are invalid")
        self.assertIn("wrote its 2 lines before", again.err)
        (self.folder / "o.done").write_text("a diary\n")
        refused = self.translate(*words, "--anew", code=2)
        self.assert_one_message(refused, "o.done is no record of th_translate")
        self.assertEqual((self.folder / "o.done").read_text(), "a diary\n")
        self.assertFalse((self.folder / "o.journal").exists())
        (self.folder / "o.done").unlink()
        (self.folder / "o.journal").write_text("a diary\n")
        refused = self.translate(*words, "--anew", code=2)
        self.assert_one_message(refused, "o.journal is no journal of th_translate")
        self.assertEqual((self.folder / "o.journal").read_text(), "a diary\n")
        for _ in range(2):
            self.assertIn("tokens/s", self.translate("--output", "p", text="one\n").err)
            self.assertFalse((self.folder / "p.done").exists())

    def test_input_from_a_pipe_goes_on_where_its_lines_are_the_same(self):
        self.stopped_job()
        (self.folder / "o.journal").unlink()
        text = (self.folder / "in").read_text()
        process = self.popen("--output", "o", *self.OPTIONS, stdin=subprocess.PIPE)
        process.stdin.write(text[: len(text) // 2].encode())
        process.stdin.flush()
        self.wait_for_output(process)
        process.kill()
        process.communicate()
        kept = self.bytes_of("o")
        other = "".join(f"{line}\n" for line in self.lines[1:] * TIMES)
        result = self.translate("--output", "o", *self.OPTIONS, text=other, code=2)
        self.assert_one_message(result, "the first [0-9]+ lines of standard input")
        self.assertTrue(kept.startswith(self.bytes_of("o")))
        self.translate("--output", "o", *self.OPTIONS, text=text)
        self.assertEqual(self.bytes_of("o"), self.reference)

    def test_two_jobs_do_not_write_one_file(self):
        process = self.job()
        self.wait_for_output(process)
        process.send_signal(signal.SIGSTOP)
        words = ("--input", "in", "--output", "o", *self.OPTIONS)
        self.assert_one_message(self.translate(*words, code=2), "another th_translate writes it")
        process.send_signal(signal.SIGCONT)
        self.end_of(process, 0)
        self.assertEqual(self.bytes_of("o"), self.reference)

    def test_lines_without_text_count_across_a_stop(self):
        rows = [line.encode() for line in self.lines * TIMES]
        rows[0] = b"\xff"
        (self.folder / "in").write_bytes(b"".join(row + b"\n" for row in rows))
        process = self.job()
        self.wait_for_output(process)
        process.kill()
        process.communicate()
        result = self.translate("--input", "in", "--output", "o", *self.OPTIONS, code=3)
        self.assert_one_message(result, f"1 of {len(rows)} lines are invalid")
        self.assertFalse((self.folder / "o.journal").exists())
        self.assertTrue(re.match(rb"\n.+", self.bytes_of("o")))


if __name__ == "__main__":
    th_run.main()
