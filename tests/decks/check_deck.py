#!/usr/bin/env python3
"""check_deck.py good|bad TH_APP DECK: th_app DECK --check does what the deck's opening comments
say, and leaves nothing behind.

# override: WORD   given to th_app after the deck
# expect: TEXT     bad deck: one line of the report has it, and each line of the report is expected
                   good deck: `section.key = value` of the resolved deck
                   $DECK stands for the deck's folder, $HERE for the working directory
# warns: TEXT      good deck: one warning has it, and each warning is expected
The resolved deck of a good one is read again, in another folder, and gives the same values.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

NOWHERE = " is not there"
kind, app, deck = sys.argv[1], str(Path(sys.argv[2]).resolve()), Path(sys.argv[3]).resolve()


def fail(text, *more):
    print(f"FAILED: {text}", *more, sep="\n")
    sys.exit(1)


def opening(word, here=""):
    """The texts of the deck's `# word: TEXT` lines."""
    lines = deck.read_bytes().decode("utf-8-sig", errors="replace").splitlines()
    texts = [line[len(word) + 4 :].strip() for line in lines if line.startswith(f"# {word}: ")]
    return [text.replace("$DECK", str(deck.parent)).replace("$HERE", here) for text in texts]


def tree(*folders):
    return sorted(str(path) for folder in folders for path in Path(folder).rglob("*"))


def check(path, words, here):
    """th_app in the folder `here`: (exit code, stdout, stderr)."""
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    done = subprocess.run(
        [app, str(path), *words, "--check"],
        cwd=here,
        env=environment,
        capture_output=True,
        timeout=60,
    )
    return (
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
    )


def match(lines, expected, what):
    """Each line has one of the expected texts, and each of those is in one line of its own."""
    left = list(lines)
    for text in expected:
        found = [line for line in left if text in line]
        if not found:
            fail(f"no {what} has '{text}'", *lines)
        left.remove(found[0])
    if left:
        fail(f"a {what} that the deck does not expect", *left)


def values(text):
    """{section.key: value} of a resolved deck."""
    out, section = {}, ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif " = " in line and not line.startswith("#"):
            key, rest = line.split(" = ", 1)
            out[f"{section}.{key}"] = rest.rsplit("  # ", 1)[0]
    return out


def check_bad(here):
    expected = opening("expect")
    code, out, err = check(deck, opening("override"), here)
    if code != 2:
        fail(f"exit code {code}, expected 2", out, err)
    if not expected or not deck.read_bytes().startswith((b"# expect: ", b"\xef\xbb\xbf# expect: ")):
        fail("a bad deck opens with # expect: TEXT")
    if out or not err.startswith("error: "):
        fail("the report is to stand on stderr alone, after 'error: '", out, err)
    match(err[len("error: ") :].splitlines(), expected, "line of the report")
    print(err, end="")


def check_good(here, other):
    code, out, err = check(deck, opening("override"), here)
    if code != 0 or err:
        fail(f"exit code {code}, expected 0 and nothing on stderr", err)
    warned, expected = (
        [line for line in out.splitlines() if line.startswith("# warning: ")],
        opening("warns"),
    )
    # Decks of tests name files that are nowhere; one that is about those expects it.
    if not any(text.endswith(NOWHERE) for text in expected):
        warned = [line for line in warned if not line.endswith(NOWHERE)]
    match(warned, expected, "warning")
    seen = values(out)
    for text in opening("expect", here):
        key, value = text.split(" = ", 1)
        if seen.get(key) != value:
            fail(f"{key} is {seen.get(key)}, expected {value}")
    again = Path(other) / "again.in"
    again.write_text(out)
    code, second, err = check("again.in", [], other)
    if code != 0 or err:
        fail(f"the resolved deck is refused with exit code {code}", err)
    changed = [
        f"{key}: {seen.get(key)} and {value}"
        for key, value in values(second).items()
        if seen.get(key) != value
    ]
    if changed or values(second) != seen:
        fail("the resolved deck gives other values", *changed)
    again.unlink()
    print(f"{len(seen)} values, the same when the resolved deck is read")


with tempfile.TemporaryDirectory(prefix="th-deck-test.") as here, tempfile.TemporaryDirectory(
    prefix="th-deck-test."
) as other:
    here, other = os.path.realpath(here), os.path.realpath(other)
    before = tree(here, other, deck.parent)
    check_bad(here) if kind == "bad" else check_good(here, other)
    if tree(here, other, deck.parent) != before:
        fail(
            "--check left something behind",
            *sorted(set(tree(here, other, deck.parent)) - set(before)),
        )
