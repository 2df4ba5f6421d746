#!/usr/bin/env python3
"""Trials of th_translate that take too long for a test; each prints what it saw as Markdown and
exits with 1 where something is not as it must be.

translator.py hashes CHECKPOINT LINES    one text and one score a sentence, whatever is beside it:
                                         batches, order, ranks, threads
translator.py kills CHECKPOINT LINES     jobs killed at random moments end with the same bytes
translator.py scale CHECKPOINT LINES     a file of --count lines: memory over time, 1 rank and 2
translator.py serve CHECKPOINT LINES     --clients clients for --seconds, garbage among them
"""

import argparse
import hashlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("TH_TRANSLATE", ROOT / "build" / "bin" / "th_translate"))


def environment():
    out = subprocess.run(
        ["bash", "-c", f". {ROOT}/tools/run_env.sh; env -0"], capture_output=True, check=True
    ).stdout.decode()
    return dict(pair.split("=", 1) for pair in out.split("\0") if "=" in pair)


ENVIRONMENT = environment()


def command(checkpoint, *words, ranks=1, threads=1):
    launch = ["mpirun", "-np", ranks] if ranks > 1 else []
    return [str(w) for w in (*launch, PROGRAM, checkpoint, "--threads", threads, *words)]


def run(words):
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} ended with code {done.returncode}:\n{done.stderr[-2000:]}")


def resident(pid):
    """MiB of a process; None where it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = [line for line in text.splitlines() if line.startswith("VmRSS")]
    return int(found[0].split()[1]) / 1024 if found else None


class Hashes:
    """Each way of decoding gives a list of (score, text) by line."""

    def __init__(self, words, folder):
        self.words, self.folder = words, folder
        self.lines = words.lines.read_text(encoding="utf-8").splitlines()[: words.count]

    def decoded(self, dtype, beam, order=None, batch=32, ranks=1, threads=1):
        order = order or range(len(self.lines))
        source, target = self.folder / "source", self.folder / "target"
        source.write_text("".join(f"{self.lines[i]}\n" for i in order), encoding="utf-8")
        run(
            command(
                self.words.checkpoint,
                *("--dtype", dtype, "--beam", beam, "--n-best", beam, "--batch", batch),
                *("--max-length", self.words.longest, "--input", source, "--output", target),
                "--anew",
                ranks=ranks,
                threads=threads,
            )
        )
        best = [[] for _ in self.lines]
        for row in target.read_text(encoding="utf-8").splitlines():
            number, rest = row.split("\t", 1)
            best[order[int(number)]].append(rest)
        return hashlib.sha256(repr(best).encode()).hexdigest()[:12]

    def ways(self):
        shuffled = random.Random(7).sample(range(len(self.lines)), len(self.lines))
        yield from ((f"batches of {batch}", {"batch": batch}) for batch in (32, 1, 7, 64))
        yield "shuffled", {"order": shuffled}
        yield from ((f"{ranks} ranks", {"ranks": ranks}) for ranks in (3, 8))
        yield "2 threads", {"threads": 2}

    def show(self):
        good = True
        print("| type | beam | ways | hashes |\n| --- | ---: | --- | --- |", flush=True)
        for dtype in self.words.types.split(","):
            for beam in (1, 5):
                seen = {name: self.decoded(dtype, beam, **way) for name, way in self.ways()}
                found = sorted(set(seen.values()))
                good = good and len(found) == 1
                print(f"| {dtype} | {beam} | {', '.join(seen)} | {', '.join(found)} |", flush=True)
        return good


def kills(words, folder):
    source, want, target = (folder / name for name in ("source", "want", "target"))
    lines = words.lines.read_text(encoding="utf-8").splitlines()
    source.write_text("".join(f"{lines[i % len(lines)]}\n" for i in range(words.count)))
    options = ("--beam", 2, "--batch", 8, "--max-length", words.longest, "--input", source)
    begin = time.monotonic()
    run(command(words.checkpoint, *options, "--output", want))
    whole = time.monotonic() - begin
    draw = random.Random(words.seed)
    killed = ended = 0
    good = True
    while killed < words.kills:
        ranks = draw.choice((1, 2))
        process = subprocess.Popen(
            command(words.checkpoint, *options, "--output", target, ranks=ranks),
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(timeout=draw.uniform(0, 0.6 * whole))
        except subprocess.TimeoutExpired:
            for pid in family(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.wait()
            killed += 1
            continue
        ended += 1
        good = good and process.returncode == 0 and target.read_bytes() == want.read_bytes()
        for path in folder.glob("target*"):
            path.unlink()
    run(command(words.checkpoint, *options, "--output", target))
    good = good and target.read_bytes() == want.read_bytes()
    print(f"{words.count} lines, {whole:.1f} s undisturbed: {killed} kills, {ended + 1} jobs ended,"
          f" {'each with the same bytes' if good else 'NOT all with the same bytes'}")
    return good


def scale(words, folder):
    source = folder / "source"
    lines = words.lines.read_text(encoding="utf-8").splitlines()
    with source.open("w", encoding="utf-8") as out:
        out.writelines(f"{lines[i % len(lines)]}\n" for i in range(words.count))
    print("| ranks | seconds | lines/s | MiB of a rank at tenths of the time |\n"
          "| ---: | ---: | ---: | --- |", flush=True)
    for ranks in (1, 2):
        begin, seen = time.monotonic(), []
        process = subprocess.Popen(
            command(words.checkpoint, "--max-length", words.longest, "--input", source,
                    "--output", folder / f"target{ranks}", ranks=ranks),
            env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            time.sleep(1)
            pids = [process.pid] if ranks == 1 else children(process.pid)
            values = [v for v in map(resident, pids) if v]
            seen.append(max(values, default=0))
        took = time.monotonic() - begin
        tenths = [seen[i * (len(seen) - 2) // 10] for i in range(1, 11)]
        print(f"| {ranks} | {took:.1f} | {words.count / took:.0f} |"
              f" {' '.join(f'{v:.0f}' for v in tenths)} |", flush=True)
        if process.returncode != 0:
            return False
    return (folder / "target1").read_bytes() == (folder / "target2").read_bytes()


def children(pid):
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def family(pid):
    """A process and all that it started."""
    return [pid, *(member for child in children(pid) for member in family(child))]


class Client(threading.Thread):
    """Asks for random lines, several at a time, until it is told to stop; some of it is garbage."""

    def __init__(self, number, path, lines, expected, end):
        super().__init__()
        self.draw, self.path, self.lines = random.Random(number), path, lines
        self.expected, self.end = expected, end
        self.answers = self.wrong = self.errors = self.busy = self.lost = 0

    def run(self):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.path))
            with connection.makefile("rb") as answers:
                while time.monotonic() < self.end:
                    self.ask(connection, answers)

    def ask(self, connection, answers):
        asked = [self.draw.randrange(len(self.lines)) for _ in range(self.draw.randint(1, 8))]
        text = "".join(json.dumps({"id": i, "text": self.lines[i]}) + "\n" for i in asked)
        garbage = self.draw.random() < 0.05
        connection.sendall((text + ('{"id": 1, "text"\n' if garbage else "")).encode())
        for _ in range(len(asked) + garbage):
            row = answers.readline()
            if not row:
                self.lost += 1
                continue
            answer = json.loads(row)
            self.answers += 1
            if answer.get("error") == "busy":
                self.busy += 1
            elif "error" in answer:
                self.errors += 1
            elif answer["text"] != self.expected[answer["id"]]:
                self.wrong += 1


def serve(words, folder):
    lines = words.lines.read_text(encoding="utf-8").splitlines()[: words.count]
    source, target, path = folder / "source", folder / "target", folder / "socket"
    source.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    options = ("--max-length", words.longest)
    run(command(words.checkpoint, *options, "--input", source, "--output", target))
    expected = target.read_text(encoding="utf-8").splitlines()
    server = subprocess.Popen(command(words.checkpoint, *options, "--serve", path),
                              env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    server.stderr.readline()
    end = time.monotonic() + words.seconds
    clients = [Client(n, path, lines, expected, end) for n in range(words.clients)]
    for client in clients:
        client.start()
    seen = []
    while any(client.is_alive() for client in clients):
        time.sleep(1)
        seen.append(resident(server.pid) or 0)
    # What was accepted before TERM is answered.
    last = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    for connection in last:
        connection.connect(str(path))
        connection.sendall("".join(
            json.dumps({"id": i, "text": lines[i]}) + "\n" for i in range(20)).encode())
    time.sleep(0.2)
    server.send_signal(signal.SIGTERM)
    rest = [json.loads(row) for connection in last for row in connection.makefile("rb")]
    wrong = sum("text" in a and a["text"] != expected[a["id"]] for a in rest)
    code = server.wait(timeout=60)
    total = {name: sum(getattr(client, name) for client in clients)
             for name in ("answers", "wrong", "errors", "busy", "lost")}
    middle = statistics.median(seen[len(seen) // 4 : len(seen) // 2])
    growth = statistics.median(seen[-10:]) - middle
    print(f"{words.clients} clients, {words.seconds} s: {total}; after TERM {len(rest)} of 160"
          f" answers, {wrong} wrong, code {code}; {middle:.0f} MiB, at the end {growth:+.1f}")
    return not (total["wrong"] or total["lost"] or wrong or code or len(rest) != 160)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trial", choices=("hashes", "kills", "scale", "serve"))
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--count", type=int, default=1000, help="lines of the input")
    parser.add_argument("--longest", type=int, default=30, help="ids of a translation")
    parser.add_argument("--types", default="fp32,bf16,fp16,int8")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trials = {"hashes": lambda: Hashes(words, folder).show(),
                  "kills": lambda: kills(words, folder),
                  "scale": lambda: scale(words, folder),
                  "serve": lambda: serve(words, folder)}
        sys.exit(0 if trials[words.trial]() else 1)


if __name__ == "__main__":
    main()
