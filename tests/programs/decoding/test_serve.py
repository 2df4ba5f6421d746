#!/usr/bin/env python3
"""th_translate --serve: requests of many clients get the answers that th_translate gives offline,
what is no request gets an error, and a stop signal loses nothing that was accepted."""

import json
import os
import signal
import socket
import subprocess
import threading
import time

import th_run


class Client:
    """A connection to the server, of JSON lines."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(th_run.LIMIT_S)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def send(self, *requests):
        self.raw(b"".join(json.dumps(request).encode() + b"\n" for request in requests))

    def raw(self, data):
        self.socket.sendall(data)

    def answer(self):
        return json.loads(self.file.readline())

    def answers(self, count):
        return {answer["id"]: answer for answer in (self.answer() for _ in range(count))}

    def close(self):
        self.file.close()
        self.socket.close()


class Serve(th_run.SharedRunTest):
    def train_once(self):
        self.train(ranks=2, train__max_steps=40, decode__max_length=20)

    def setUp(self):
        super().setUp()
        self.lines = (self.folder / "train.en").read_text().splitlines()
        text = "".join(f"{line}\n" for line in self.lines)
        best = self.program("th_translate", self.latest(), "--n-best", 1, text=text).out
        rows = [row.split("\t") for row in best.splitlines()]
        self.expected = [(row[2], float(row[1])) for row in rows]
        self.path = self.folder / "socket"

    def serve(self, *options):
        process = subprocess.Popen(
            self.command("th_translate", [self.latest(), "--serve", self.path, *options], 0),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(th_run.end, process)
        self.assertIn("answers at", process.stderr.readline())
        return process

    def client(self):
        client = Client(self.path)
        self.addCleanup(client.close)
        return client

    def ends(self, process, number=signal.SIGTERM):
        process.send_signal(number)
        out, err = process.communicate(timeout=th_run.LIMIT_S)
        self.assertEqual((process.returncode, out, err), (0, "", ""))
        self.assertFalse(self.path.exists())

    def test_many_clients_get_the_answers_of_offline(self):
        process = self.serve("--batch", 8)
        faults = []

        def talk(first):
            client = self.client()
            numbers = range(first, len(self.lines), 16)
            client.send(*({"id": n, "text": self.lines[n]} for n in numbers))
            for n, answer in client.answers(len(numbers)).items():
                text, score = self.expected[n]
                if answer != {"id": n, "text": text, "score": score}:
                    faults.append((answer, text, score))

        threads = [threading.Thread(target=talk, args=(first,)) for first in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
        self.ends(process)

    def test_what_is_no_request_gets_an_error_and_the_next_is_answered(self):
        process = self.serve()
        client = self.client()
        cases = (
            (b"nonsense\n", "no JSON object"),
            (b"[1]\n", "no JSON object"),
            (b'{"id":1,"text":"\xff"}\n', "no JSON object"),
            (b'{"id":2}\n', 'no "text"'),
            (b'{"id":3,"text":7}\n', "another kind"),
            (b'{"id":4,"text":"a","speed":1}\n', '"speed" is not known'),
            (b'{"id":5,"text":"a\\nb"}\n', "line end"),
            (b'{"id":6,"text":"' + b"x" * (1 << 20) + b'"}\n', "more than 1048576 bytes"),
            (b"y" * (3 << 20) + b"\n", "more than 1048576 bytes"),
        )
        for data, pattern in cases:
            client.raw(data)
            self.assertIn(pattern, client.answer()["error"])
        client.send({"id": ["any", {"kind": None}], "text": self.lines[0]}, {"text": " \u3000"})
        answer = client.answer()
        self.assertEqual(answer["id"], ["any", {"kind": None}])
        self.assertEqual(answer["text"], self.expected[0][0])
        self.assertEqual(client.answer(), {"id": None, "text": "", "score": 0})
        self.client().raw(b'{"id":9,"text":"half')  # and away
        self.ends(process, signal.SIGINT)

    def test_a_full_queue_says_busy_and_a_stop_loses_nothing_that_was_accepted(self):
        process = self.serve("--beam", 4, "--batch", 1)
        client = self.client()
        count = 3000
        sent = [{"id": n, "text": self.lines[n % len(self.lines)]} for n in range(count)]
        client.send(*sent)
        first = client.answer()
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        rows = [first, *(json.loads(line) for line in client.file)]
        process.communicate(timeout=th_run.LIMIT_S)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(len({row["id"] for row in rows}), len(rows))
        errors = {row["error"] for row in rows if "error" in row}
        self.assertLessEqual(errors, {"busy", "the server ends"})
        self.assertIn("busy", errors)
        self.assertGreaterEqual(len([row for row in rows if "text" in row]), 1024)

    def test_who_does_not_read_is_not_read(self):
        process = self.serve()
        client = self.client()
        client.socket.settimeout(2)
        with self.assertRaises(TimeoutError):
            for _ in range(1 << 20):
                client.raw(b"nonsense\n" * 1000)
        resident = open(f"/proc/{process.pid}/statm").read().split()[1]
        self.assertLess(int(resident) * os.sysconf("SC_PAGESIZE"), 2 << 30)
        other = self.client()
        other.send({"id": 1, "text": self.lines[1]})
        self.assertEqual(other.answer()["text"], self.expected[1][0])
        client.close()
        self.ends(process)

    def test_the_path_of_the_socket(self):
        def refused(path, pattern, code=2):
            result = self.program("th_translate", self.latest(), "--serve", path, code=code)
            self.assert_one_message(result, pattern)

        (self.folder / "file").write_text("mine")
        refused("file", "no socket")
        self.assertEqual((self.folder / "file").read_text(), "mine")
        refused("x" * 200, "at most 107 bytes")
        refused("absent/socket", "No such file", code=3)
        process = self.serve()
        refused(self.path, "another server listens")
        process.kill()
        process.communicate()
        self.assertTrue(self.path.exists())
        self.ends(self.serve())
        words = ("--serve", self.path, "--input", "valid.en")
        result = self.program("th_translate", self.latest(), *words, code=2)
        self.assert_one_message(result, "--serve", "--input")


if __name__ == "__main__":
    th_run.main()
