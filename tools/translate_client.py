#!/usr/bin/env python3
"""Translates lines of standard input by a server, th_translate CHECKPOINT --serve SOCKET, and
writes a translation a line, in the order of the lines.

usage: tools/translate_client.py SOCKET [--n-best N] [--beam N] [--max-length N] [--min-length N]
                                 [--prefix TEXT] < SOURCE

  --n-best N   N lines LINE<TAB>SCORE<TAB>TEXT a source line, counted from 0, best first
The other options go with every request. A request that the server refuses is told on standard error
with its line and gives an empty line; the exit code is 1 then.

As a module: `with Server("socket") as server: print(server.translate("one two")["text"])`."""

import argparse
import json
import socket
import sys
import time

WINDOW = 256  # requests on their way; the server takes 1024 of all its clients


class Server:
    """A connection. Requests and answers are JSON objects, one a line (docs/translate.md)."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, request):
        self.socket.sendall(json.dumps(request, ensure_ascii=False).encode() + b"\n")

    def answer(self):
        """The next answer: they come as they are ready, and "id" says whose each is."""
        line = self.file.readline()
        if not line:
            raise ConnectionError("the server has closed the connection")
        return json.loads(line)

    def translate(self, text, **members):
        """The answer for one text; members are n_best, beam, max_length, min_length, prefix."""
        self.send({"id": 0, "text": text, **members})
        return self.answer()

    def translate_all(self, texts, **members):
        """The answers for texts, in their order; at most WINDOW requests are on their way."""
        waiting, ready, first, texts = {}, {}, 0, enumerate(texts)
        more = True
        while more or waiting:
            while more and len(waiting) < WINDOW:
                number, text = next(texts, (None, None))
                more = number is not None
                if more:
                    waiting[number] = text
                    self.send({"id": number, "number": number, "text": text, **members})
            if not waiting:
                break
            answer = self.answer()
            number = answer["id"]
            if answer.get("error") == "busy":  # other clients fill the queue
                time.sleep(0.05)
                self.send({"id": number, "number": number, "text": waiting[number], **members})
                continue
            del waiting[number]
            ready[number] = answer
            while first in ready:
                yield ready.pop(first)
                first += 1


class Parser(argparse.ArgumentParser):
    """What is wrong is one line, and help is the text above."""

    def error(self, message):
        self.exit(2, f"translate_client.py: {message}; --help shows what can be said\n")

    def format_help(self):
        return __doc__ + "\n"


def arguments():
    parser = Parser()
    parser.add_argument("socket")
    for name in ("--n-best", "--beam", "--max-length", "--min-length"):
        parser.add_argument(name, type=int, metavar="N")
    parser.add_argument("--prefix", metavar="TEXT")
    given = vars(parser.parse_args())
    path = given.pop("socket")
    return path, {name: value for name, value in given.items() if value is not None}


def main():
    path, members = arguments()
    code = 0
    invalid = set()

    def read():
        for number, line in enumerate(sys.stdin.buffer):
            try:
                yield line.decode("utf-8").rstrip("\n")
            except UnicodeDecodeError:
                invalid.add(number)
                print(f"line {number + 1}: invalid UTF-8; an empty line stands for it",
                      file=sys.stderr)
                yield ""

    lines = read()
    with Server(path) as server:
        for number, answer in enumerate(server.translate_all(lines, **members)):
            if "error" in answer:
                code = 1
                print(f"line {number + 1}: {answer['error']}", file=sys.stderr)
            if "best" in answer:
                for one in answer["best"]:
                    print(number, one["score"], one["text"], sep="\t")
            else:
                print(answer.get("text", ""))
            sys.stdout.flush()
    return 3 if invalid and code == 0 else code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"translate_client.py: {error}")
