#!/usr/bin/env python3
"""check_pages.py ROOT BIN: every relative link and anchor of the pages leads somewhere, every path
in backticks below build/bin, tools, inputs and jobs is there, and every section.key is a key that
th_app --explain knows. check_pages.py --self-test tries these rules on made pages."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pages

PATH = re.compile(r"(?:build/bin|tools|inputs|jobs)/[\w./*{},-]*[\w*}]")
KEY = re.compile(r"-{0,2}([a-z]+)\.([a-z0-9_]+)(?:=.*)?")
# Endings of files whose names look like keys.
FILES = """h5 md py hpp cpp cu json jsonl log in npz bin safetensors sh html svg txt cmake hyp so
    done gz en fr source target ref""".split()


def known_keys(binaries):
    text = subprocess.run(
        [binaries / "th_app", "--explain"], check=True, capture_output=True, text=True
    ).stdout
    return set(re.findall(r"(?m)^([a-z]+\.[a-z0-9_]+) = ", text))


def braces(path):
    """inputs/{a,b}.in: both."""
    found = re.search(r"\{([^{}]*)\}", path)
    if found is None:
        return [path]
    return [
        one
        for part in found[1].split(",")
        for one in braces(path[: found.start()] + part + path[found.end() :])
    ]


def is_program(root, binaries, name):
    """Whether it is built, or would be with the tests and benchmarks."""
    if (binaries / name).exists() or any(root.glob(f"*/{name}.cpp")):
        return True
    files = [*root.glob("*/tests.cmake"), *root.glob("*/*/tests.cmake")]
    files += [*root.glob("*/CMakeLists.txt"), *root.glob("*/*/CMakeLists.txt")]
    return any(re.search(rf"\b{re.escape(name)}\b", file.read_text()) for file in files)


def missing_paths(root, binaries, word):
    for path in [one for match in PATH.findall(word) for one in braces(match)]:
        if path.startswith("build/bin/"):
            there = is_program(root, binaries, path.removeprefix("build/bin/"))
        elif path.startswith("inputs/data/"):
            there = True  # what commands make; those that need it run
        else:
            there = any(root.glob(path.rstrip("/")))
        if not there:
            yield path


def problems_of(page, root, binaries, keys):
    sections = {key.split(".")[0] for key in keys}
    name = page.path.relative_to(root)
    for number, target in pages.links(page):
        file, _, anchor = target.partition("#")
        path = (page.path.parent / file).resolve() if file else page.path
        if not path.exists():
            yield f"{name}:{number}: {target}: {file} is not there"
        elif anchor and path.suffix == ".md" and anchor not in pages.anchors(pages.read_page(path)):
            yield f"{name}:{number}: {target}: {path.name} has no heading '{anchor}'"
    for number, word in pages.words(page):
        for path in missing_paths(root, binaries, word):
            if not any(path.startswith(other) for other in page.other_names):
                yield f"{name}:{number}: {path} is not there"
        found = KEY.fullmatch(word.strip(",;:()'\""))
        if found is None or found[1] not in sections or found[2] in FILES:
            continue
        key = f"{found[1]}.{found[2]}"
        if key not in keys and key not in page.other_names:
            yield f"{name}:{number}: {key} is no key of th_app --explain"


def all_pages(root):
    folders = (".", "docs", "docs/notes", "benchmarks", "tests/golden")
    return sorted(path for folder in folders for path in (root / folder).glob("*.md"))


def check(root, binaries, keys):
    problems, counts = [], {"pages": 0, "links": 0, "words": 0}
    for path in all_pages(root):
        try:
            page = pages.read_page(path)
        except pages.PageError as error:
            problems.append(str(error))
            continue
        counts["pages"] += 1
        counts["links"] += sum(1 for _ in pages.links(page))
        counts["words"] += sum(1 for _ in pages.words(page))
        if path.name != "CHANGELOG.md":  # it tells of what is no more
            problems += problems_of(page, root, binaries, keys)
    return problems, counts


MADE = """# A page
[a](docs/b.md) [b](docs/b.md#two-words) [c](#a-page) [web](https://example.org/x)
`tools/a.sh` `build/bin/th_app` `inputs/{a,b}.in` `model.h5` `zero.stage = 2` `torch.nn`
"""
WRONG = {
    "[x](docs/c.md)": "docs/c.md is not there",
    "[x](docs/b.md#two)": "b.md has no heading 'two'",
    "[x](#page)": "README.md has no heading 'page'",
    "`tools/b.sh`": "tools/b.sh is not there",
    "`build/bin/th_no`": "build/bin/th_no is not there",
    "`inputs/{a,c}.in`": "inputs/c.in is not there",
    "`zero.stag`": "zero.stag is no key",
    "```sh\nth_app --zero.stag=3\n```": "README.md:5: zero.stag is no key",
    "<!-- test: skip -->\n```sh\nx\n```": "skip needs its reason",
    "<!-- test: run twice -->\n```sh\nx\n```": "'twice' is unknown",
    "<!-- test: walk -->\n```sh\nx\n```": "'walk' is unknown",
    "<!-- test: output -->\n```sh\nx\n```": "'output' does not fit",
    "<!-- test: long -->\ntext": "no block stands behind",
    "<!-- test long -->": "a comment is written",
    "```sh\nx": "has no end",
}


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path in ("docs/b.md", "tools/a.sh", "inputs/a.in", "inputs/b.in", "bin/th_app"):
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_text("# Two words\n")
        sound = {"": None, "<!-- test: other names zero.x -->\n`zero.x`": None}
        for more, expected in {**sound, **WRONG}.items():
            (root / "README.md").write_text(MADE + more + "\n")
            problems, counts = check(root, root / "bin", {"zero.stage"})
            if expected is None and (problems or counts["links"] != 3):
                sys.exit(f"FAILED: a sound page: {problems}, {counts}")
            if expected and (len(problems) != 1 or expected not in problems[0]):
                sys.exit(f"FAILED: {more!r}: {problems}, expected {expected!r}")
    print(f"{len(WRONG)} wrong pages are told, the sound ones pass")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    root, binaries = (Path(word).resolve() for word in sys.argv[1:])
    keys = known_keys(binaries)
    problems, counts = check(root, binaries, keys)
    print(*problems, sep="\n")
    print(", ".join(f"{count} {name}" for name, count in counts.items()), f"{len(keys)} keys")
    if problems or counts["links"] < 50 or len(keys) < 100:
        sys.exit(f"FAILED: {len(problems)} problems")


if __name__ == "__main__":
    main()
