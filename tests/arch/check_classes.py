#!/usr/bin/env python3
"""check_classes.py ROOT: fails where a class does more than one reads at a time.

At most 20 public methods and 20 members a class of include and src. Constructors, destructors,
operators and deleted functions are no methods here, static and constexpr data no members; a struct
is a record, whatever it holds. `--largest N ROOT` prints the N largest classes, `--self-test`
plants offenders.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cpp_scanner import RECORDS, Scanner, ScanError, is_name

PUBLIC_METHODS, MEMBERS = 20, 20
TOPS = ("include", "src")
SUFFIXES = {".hpp", ".h", ".cpp", ".cu", ".cuh"}
ACCESS = ("public", "protected", "private")
NEITHER = {"using", "typedef", "friend", "static_assert", "enum", "public", "protected", "private"}


@dataclass
class Class:
    name: str
    line: int
    is_record: bool  # a struct or union
    close: int  # the place of its last brace
    methods: int = 0  # public ones
    members: int = 0


class ClassScanner(Scanner):
    """Counts what the classes of a source declare."""

    def __init__(self, text):
        super().__init__(text)
        self.classes = []
        self._within = []  # the classes around the present place, innermost last

    def _opened(self, start, at):
        if self._kind(start, at) != "class":
            return super()._opened(start, at)
        head = [place for place in self._top_level(start, at)]
        keyword = next(place for place in head if self._text(place) in RECORDS)
        name = next((p for p in head if p > keyword and is_name(self.tokens[p])), keyword)
        found = Class(
            self._text(name),
            self.tokens[keyword].line,
            self._text(keyword) != "class",
            self.partner[at],
        )
        self.classes.append(found)
        self._within.append((found, at))
        result = super()._opened(start, at)
        self._within.pop()
        return result

    def _scan_body(self, at, end):
        outside, self._within = self._within, []  # what a function declares is no member
        super()._scan_body(at, end)
        self._within = outside

    def _declared(self, start, end):
        name = super()._declared(start, end)
        if self._within and start < end:
            self._count(start, end, name)
        return name

    def _access(self, start):
        found, brace = self._within[-1]
        access, at = "public" if found.is_record else "private", brace + 1
        while at < start:
            if self._text(at) in ACCESS and self._text(at + 1) == ":":
                access = self._text(at)
            at = self.partner[at] + 1 if self._text(at) in "([{" else at + 1
        return access

    def _count(self, start, end, name):
        found = self._within[-1][0]
        head = self._top_level(start, end)
        words = [self._text(at) for at in head]
        if words[0] == "template" and "using" in words or words[0] in NEITHER:
            return
        defined = RECORDS & set(words)
        if defined and "{" in words:  # a nested class; a member where a name follows its body
            found.members += is_name(self.tokens[end - 1])
            return
        lists = [at for at in head if self._is_parameter_list(at)]
        if lists:
            short = name.split("::")[-1]
            special = short == found.name or short.startswith(("~", "operator"))
            deleted = [self._text(end - 2), self._text(end - 1)] == ["=", "delete"]
            if not special and not deleted and self._access(start) == "public":
                found.methods += 1
        elif not defined and not {"static", "constexpr"} & set(words):
            found.members += 1 + words.count(",")


def classes_of(root):
    """(path, class) of every class of the tree; raises ScanError."""
    for top in TOPS:
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in SUFFIXES:
                continue
            scanner = ClassScanner(path.read_text(encoding="utf-8"))
            try:
                scanner.scan()
            except ScanError as error:
                raise ScanError(f"{path}: {error}") from error
            for found in scanner.classes:
                if not found.is_record:
                    yield path.relative_to(root), found


def check(root):
    problems, count = [], 0
    for path, found in classes_of(root):
        count += 1
        what = f"{path}:{found.line}: {found.name} has "
        if found.methods > PUBLIC_METHODS:
            problems.append(
                f"{what}{found.methods} public methods, at most {PUBLIC_METHODS} are allowed"
            )
        if found.members > MEMBERS:
            problems.append(f"{what}{found.members} members, at most {MEMBERS} are allowed")
    return problems, count


def print_largest(root, number):
    found = [(c.methods, c.members, c.name, path) for path, c in classes_of(root)]
    found.sort(key=lambda c: (-c[0] - c[1], c[2]))
    print("public methods  members  class")
    for methods, members, name, path in found[:number]:
        print(f"{methods:14}  {members:7}  {name} ({path})")


def self_test():
    methods = "".join(f"  void f{n}() {{ int local = {n}; }}\n" for n in range(PUBLIC_METHODS))
    members = "".join(f"  int m{n}_ = 0;\n" for n in range(MEMBERS - 2))
    planted = {
        "include/th/fits.hpp": (
            "class Fits final : public Base {\n public:\n  explicit Fits(int a) : m0_(a) {}\n"
            "  ~Fits() override;\n  Fits(const Fits&) = delete;\n  Fits& operator=(Fits&&);\n"
            "  using A = int;\n  enum class E { kA, kB };\n  static constexpr int kC = 1;\n"
            "  struct Inner {\n    int a, b, c;\n    void g();\n  };\n"
            f"{methods} private:\n  void hidden();\n{members}  std::map<int, int> x_, y_;\n}};\n",
            None,
        ),
        "include/th/wide.hpp": (
            f"class Wide {{\n public:\n{methods}  [[nodiscard]] virtual int one_more() = 0;\n}};\n",
            "Wide has 21 public methods",
        ),
        "src/deep.cpp": (
            f"namespace {{\nclass Deep {{\n{members}  int a_, b_;\n"
            "  struct I { int x; } i_;\n};\n}\n",
            "Deep has 21 members",
        ),
        "src/record.hpp": (f"struct Record {{\n{members}{methods}  int a, b, c, d;\n}};\n", None),
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, (text, _) in planted.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        problems, _ = check(root)
    expected = [(name, text) for name, (_, text) in planted.items() if text]
    assert len(problems) == len(expected), problems
    for name, text in expected:
        assert any(p.startswith(name) and text in p for p in problems), (name, problems)


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
        sys.exit(0)
    if sys.argv[1] == "--largest":
        print_largest(Path(sys.argv[3]), int(sys.argv[2]))
        sys.exit(0)
    offenders, number_of_classes = check(Path(sys.argv[1]))
    print("\n".join([*offenders, f"{number_of_classes} classes, {len(offenders)} problems"]))
    sys.exit(1 if offenders or not number_of_classes else 0)
