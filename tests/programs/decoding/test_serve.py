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
from pathlib import Path

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
        if not hasattr(type(self), "expected"):
            text = "".join(f"{line}\n" for line in self.lines)
            best = self.program("th_translate", self.latest(), "--n-best", 1, text=text).out
            rows = [row.split("\t") for row in best.splitlines()]
            type(self).expected = [(row[2], float(row[1])) for row in rows]
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

    def test_a_shortlist_is_that_of_offline_whatever_a_request_asks_for(self):
        text = ("data.train_source=train.en", "data.train_target=train.fr")
        sizes = ("--first", 3, "--best", 2)
        self.program("th_corpus", "shortlist", self.latest(), *text, "--output", "list", *sizes)
        words = ("--shortlist", "list", "--beam", 3)
        text = "".join(f"{line}\n" for line in self.lines)
        out = self.program("th_translate", self.latest(), *words, "--n-best", 3, text=text).out
        expected = {}
        for row in out.splitlines():
            number, score, translation = row.split("\t")
            best = expected.setdefault(number, [])
            best.append({"text": translation, "score": float(score)})
        known = (word for translation, _ in self.expected for word in translation.split())
        word = next(word for word in known if word != "<unk>")
        process = self.serve(*words)
        client = self.client()
        client.send(
            *({"id": n, "text": line, "n_best": 3} for n, line in enumerate(self.lines)),
            {"id": "short", "text": self.lines[0], "beam": 1, "max_length": 2},
            {"id": "begun", "text": self.lines[0], "prefix": word},
        )
        found = client.answers(len(self.lines) + 2)
        self.assertLessEqual(len(found.pop("short")["text"].split()), 2)
        self.assertEqual(found.pop("begun")["text"].split()[0], word)
        self.assertEqual({n: found[n]["best"] for n in found}, dict(enumerate(expected.values())))
        self.ends(process)

    def test_what_is_no_request_gets_an_error_and_the_next_is_answered(self):
        process = self.serve()
        client = self.client()
        cases = (
            (b"\n", "the line is empty"),
            (b"\r\n", "the line is empty"),
            (b" \t\n", "the line is empty"),
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

    def test_ids_come_back_as_they_were_sent(self):
        process = self.serve()
        client = self.client()
        ids = (
            b"18446744073709551616",
            b"123456789012345678901234567890",
            b"-9223372036854775809",
            b"0.1000",
            b'[1, {"id": 99999999999999999999}]',
            '"}\\"\\u00e9é"'.encode(),
        )
        for sent in ids:
            for text, member in ((b'"one"', b'"text":'), (b"7", b'"error":')):
                client.raw(b'{"text": ' + text + b' ,"\\u0069d" : ' + sent + b" }\n")
                line = client.file.readline()
                self.assertTrue(line.startswith(b'{"id":' + sent + b"," + member), line)
        client.raw(b'{"id":1,"text":"one","id":2}\n')
        self.assertEqual(client.answer()["id"], 2)
        self.ends(process)

    def test_a_long_text_is_answered_with_an_error(self):
        process = self.serve("--max-source-length", 8)
        client = self.client()
        words = self.lines[0].split() * 4
        client.send(*({"id": n, "text": " ".join(words[:n])} for n in range(6, 10)))
        answers = client.answers(4)
        self.assertEqual(set(answers[7]), {"id", "text", "score"})  # eight with the end
        self.assertEqual(set(answers[6]), {"id", "text", "score"})
        for n in (8, 9):
            pattern = f"has {n + 1} ids with its end, and the server takes 8 .--max-source-length"
            self.assertRegex(answers[n]["error"], pattern)
        self.ends(process)

    def offline(self, *options):
        rows = [[] for _ in self.lines]
        text = "".join(f"{line}\n" for line in self.lines)
        out = self.program("th_translate", self.latest(), *options, text=text).out
        for line in out.splitlines():
            number, score, translation = line.split("\t")
            rows[int(number)].append({"score": float(score), "text": translation})
        return rows

    def test_a_request_has_a_search_of_its_own(self):
        process = self.serve("--beam", 4, "--batch", 8)
        client = self.client()
        kinds = (
            ({"n_best": 3}, ("--beam", 4, "--n-best", 3)),
            ({"n_best": 1, "beam": 1, "max_length": 3}, ("--n-best", 1, "--max-length", 3)),
            ({"n_best": 2, "beam": 2, "min_length": 9},
             ("--beam", 2, "--n-best", 2, "--min-length", 9)),
        )  # fmt: skip
        expected = [self.offline(*options) for _, options in kinds]
        for n, line in enumerate(self.lines[:90]):
            client.send({"id": n, "text": line, **kinds[n % 3][0]})
        for n, answer in client.answers(90).items():
            self.assertEqual(answer["best"], expected[n % 3][n])
            self.assertEqual(answer["text"], answer["best"][0]["text"])
            self.assertEqual(answer["score"], answer["best"][0]["score"])
        word = self.expected[0][0].split()[0]
        client.send({"text": self.lines[1], "prefix": word})
        answer = client.answer()
        self.assertTrue(answer["text"].startswith(word), answer)
        self.assertNotIn("best", answer)
        for members, patterns in (
            ({"beam": 5}, ("beam", "above 4", "--beam")),
            ({"n_best": 5}, ("n_best", "above 4")),
            ({"n_best": 3, "beam": 2}, ("n_best", "above 2")),
            ({"max_length": 21}, ("max_length", "above 20", "--max-length")),
            ({"max_length": 3, "min_length": 4}, ("min_length", "above 3")),
            ({"n_best": 0}, ("n_best", "from 1")),
            ({"n_best": 1.5}, ("n_best", "from 1")),
            ({"beam": -1}, ("beam", "from 1")),
            ({"beam": 1 << 63}, ("beam", "from 1")),
            ({"prefix": "zzz"}, ("'zzz'", "outside the target vocabulary")),
            ({"prefix": f"{word} {word}", "max_length": 1}, ("a prefix of 2 ids", "1 ids")),
            ({"prefix": 1}, ("prefix", "strings")),
            ({"nbest": 2}, ('"nbest" is not known', '"n_best"')),
        ):
            client.send({"id": 1, "text": self.lines[0], **members})
            answer = client.answer()
            for pattern in patterns:
                self.assertIn(pattern, answer.get("error", ""), members)
        self.ends(process)

    def test_a_server_that_draws_gives_lists_up_to_its_own(self):
        process = self.serve("--sampling", "--n-best", 3, "--seed", 5)
        client = self.client()
        expected = self.offline("--sampling", "--n-best", 2, "--seed", 5)
        for n, line in enumerate(self.lines[:20]):
            client.send({"id": n, "number": n, "text": line, "n_best": 2})
        for n, answer in client.answers(20).items():
            self.assertEqual(answer["best"], expected[n])
        client.send({"text": "one", "n_best": 4}, {"text": "one", "beam": 2})
        self.assertIn("above 3", client.answer()["error"])
        self.assertIn("draws", client.answer()["error"])
        self.ends(process)

    def test_the_client_of_tools_gives_what_th_translate_gives(self):
        process = self.serve("--beam", 3)
        script = [str(th_run.SOURCE / "tools" / "translate_client.py"), str(self.path)]

        def client(*options, code=0):
            text = "".join(f"{line}\n" for line in [*self.lines, "", "one"])
            done = subprocess.run(
                [*script, *options], input=text, capture_output=True, text=True, cwd=self.folder
            )
            self.assertEqual(done.returncode, code, done)
            return done

        offline = self.offline("--beam", 3, "--n-best", 2)
        rows = client("--n-best", "2").stdout.splitlines()
        self.assertEqual(
            [row.split("\t") for row in rows[: 2 * len(self.lines)]],
            [[str(n), str(one["score"]), one["text"]] for n, r in enumerate(offline) for one in r],
        )
        greedy = client("--beam", "1").stdout.splitlines()
        self.assertEqual(greedy[: len(self.lines)], [text for text, _ in self.expected])
        self.assertEqual((len(greedy), greedy[-2]), (len(self.lines) + 2, ""))
        done = subprocess.run(script, input=b"one\n\xff\ntwo\n", capture_output=True)
        self.assertEqual((done.returncode, done.stdout.count(b"\n")), (3, 3), done)
        self.assertIn(b"line 2: invalid UTF-8", done.stderr)
        refused = client("--beam", "9", code=1)
        self.assertIn('line 1: "beam" 9 is above 3', refused.stderr)
        self.ends(process)
        gone = client(code=1)
        self.assertIn("translate_client.py: ", gone.stderr)

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
        resident = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
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
