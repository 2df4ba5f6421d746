#!/usr/bin/env python3
"""check_sizes.py ROOT: fails where a source is larger than one reads at a time.

At most 400 lines a file, 100 columns a line, 60 lines a function, 6 parameters a declaration, and
20 source files side by side in a folder. `--self-test` plants an offender of each kind.
"""

import ast
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cpp_scanner import ScanError, scan

FILE_LINES, COLUMNS, FUNCTION_LINES, PARAMETERS, FILES_IN_FOLDER = 400, 100, 60, 6, 20
TOPS = ("include", "src", "tests", "tools", "jobs", "benchmarks", "cmake")
TOPS_OF_FOLDERS = ("include", "src", "tests", "tools", "benchmarks")
CPP = {".hpp", ".h", ".cpp", ".cu", ".cuh", ".inc"}
SUFFIXES = CPP | {".py", ".sh", ".cmake", ".sbatch"}
# Functions of other people's interfaces that a fake of ours has to repeat as they are.
FOREIGN = {"cudaMemcpy2DAsync", "ncclAllReduce"}


@dataclass
class Limits:
    """What is counted of one function, whatever its language."""

    name: str
    line: int
    lines: int = 0
    parameters: int = 0


def is_source(path):
    if path.name == "CMakeLists.txt" or path.suffix in SUFFIXES:
        return True
    return path.suffix == ".in" and Path(path.stem).suffix in SUFFIXES  # a template, not a deck


def sources_of(root):
    """Every source of the tree; hidden folders, as a virtual environment, are not ours."""
    yield from root.glob("CMakeLists.txt")
    for top in TOPS:
        for path in sorted((root / top).rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if not hidden and path.is_file() and is_source(path):
                yield path


def cpp_limits(text):
    found = scan(text)
    for function in found.functions:
        yield Limits(function.name, function.first_line, lines=function.lines)
    for declared in found.parameter_lists:
        if declared.name.split("::")[-1] not in FOREIGN:
            yield Limits(declared.name, declared.line, parameters=declared.count)


def python_limits(text):
    """Each def and lambda; a method's `self` or `cls` is no parameter."""
    tree = ast.parse(text)
    methods = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for child in node.body
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        given = node.args
        names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
        names += [a.arg for a in (given.vararg, given.kwarg) if a]
        if node in methods and names and names[0] in ("self", "cls"):
            del names[0]
        yield Limits(
            getattr(node, "name", "lambda"),
            node.lineno,
            lines=node.end_lineno - node.lineno + 1,
            parameters=len(names),
        )


def check_file(path):
    """(line, problem) of one source."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    if len(lines) > FILE_LINES:
        yield 1, f"{len(lines)} lines, at most {FILE_LINES} are allowed"
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS:
            yield number, f"{len(line)} columns, at most {COLUMNS} are allowed"
    limits = ()
    if path.suffix in CPP:
        limits = cpp_limits(text)
    elif path.suffix == ".py":
        limits = python_limits(text)
    try:
        for found in limits:
            if found.lines > FUNCTION_LINES:
                yield found.line, (
                    f"{found.name} has {found.lines} lines, at most {FUNCTION_LINES} are allowed"
                )
            if found.parameters > PARAMETERS:
                yield found.line, (
                    f"{found.name} has {found.parameters} parameters, "
                    f"at most {PARAMETERS} are allowed"
                )
    except (ScanError, SyntaxError) as error:
        yield 1, f"not understood: {error}"


def check_folders(root, sources):
    counts = {}
    for path in sources:
        folder = path.parent.relative_to(root)
        if folder.parts and folder.parts[0] in TOPS_OF_FOLDERS:
            counts[folder] = counts.get(folder, 0) + 1
    for folder, count in sorted(counts.items()):
        if count > FILES_IN_FOLDER:
            yield f"{folder}: {count} sources side by side, at most {FILES_IN_FOLDER} are allowed"


def check(root):
    sources = list(sources_of(root))
    problems = [
        f"{path.relative_to(root)}:{line}: {problem}"
        for path in sources
        for line, problem in check_file(path)
    ]
    return problems + list(check_folders(root, sources)), len(sources)


# The self-test: each text below holds the offenders that its list names and nothing else to find.

SEVEN = "int a, int b, int c, int d, int e, int f, int g"
SEVEN_TYPES = "int, int, int, int, int, int, int"
LONG = "\n" * (FUNCTION_LINES - 1)  # a body that is a line too long with its two braces' lines
FITS = "\n" * (FUNCTION_LINES - 2)
PLANTED = {
    "src/base/long_file.cpp": ("\n" * (FILE_LINES + 1), ["401 lines"]),
    "src/base/wide.hpp": ("// " + "ä" * 97 + "\n// " + "ä" * 98 + "\n", ["2: 101 columns"]),
    "jobs/wide.sbatch": ("# " + "x" * 99 + "\n", ["1: 101 columns"]),
    "cmake/wide.hpp.in": ("// " + "x" * 98 + "\n", ["1: 101 columns"]),
    "tests/decks/good/wide.in": ("# " + "x" * 99 + "\n", []),
    "src/base/CMakeLists.txt": ("# " + "x" * 99 + "\n", ["1: 101 columns"]),
    "src/base/functions.cpp": (
        "namespace th {\n"
        f"int fits() {{{FITS}\n}}\n"
        f"int too_long() noexcept {{{LONG}\n}}\n"
        "struct Shape {\n"
        f"  Shape() : name_{{}}, size_(1) {{{LONG}\n  }}\n"
        f"  auto area() const -> decltype(1) {{{LONG}\n  }}\n"
        "  std::string name_;\n  int size_ = 0;\n};\n"
        "}  // namespace th\n",
        ["too_long has 61", "Shape has 61", "area has 61"],
    ),
    "tests/unit/test_bodies.cpp": (
        f"const auto late = [](int a) {{{LONG}\n}};\n"
        "int outer() {\n"
        f"  run([&] {{{FITS}\n  }});\n}}\n"
        f"TEST(Suite, Name) {{{LONG}\n}}\n",
        ["lambda has 61", "outer has 62", "TEST(Suite, Name) has 61"],
    ),
    "src/base/parameters.hpp": (
        f"void seven({SEVEN});\n"
        f"struct Shape {{\n  explicit Shape({SEVEN})\n      : a_(a, b, c, d, e, f, g) {{}}\n"
        f"  void (*pointer)({SEVEN_TYPES}) = nullptr;\n"
        f"  std::function<void({SEVEN_TYPES})> target;\n}};\n"
        f"using Call = int (*)({SEVEN_TYPES});\n"
        f"void body() {{ auto f = []({SEVEN}) {{ return a; }}; }}\n"
        f"template <> void special<int>({SEVEN});\n",
        [
            "1: seven has 7",
            "3: Shape has 7",
            "5: pointer has 7",
            "6: target has 7",
            "8: Call has 7",
            "9: lambda has 7",
            "10: special has 7",
        ],
    ),
    "src/base/harmless.cpp": (
        f"// void commented({SEVEN});\n/* int f({SEVEN}); {{ */\n#define MACRO({SEVEN}) {{\n"
        f'const char* text = "void f({SEVEN}) {{";\n'
        f'const char* raw = R"x(void f({SEVEN}) {{ " )x";\n'
        f"const int count = 1'000'000, brace = '{{', value = sum(1, 2, 3, 4, 5, 6, 7);\n"
        "enum class Kind { a, b, c, d, e, f, g, h };\n"
        "std::map<int, std::function<int(int)>> table{{1, {}}, {2, {}}};\n"
        "int pairs(std::map<int, std::map<int, int>> a, std::tuple<int, int, int, int, int> b,\n"
        "          int c = sum(1, 2, 3, 4, 5, 6, 7)) { return x[f(1, 2, 3, 4, 5, 6, 7)]; }\n"
        "INSTANTIATE_TEST_SUITE_P(All, Shape, 1, 2, 3, 4, 5);\n"
        f"cudaError_t cudaMemcpy2DAsync({SEVEN}) {{ return 0; }}\n",
        [],
    ),
    "src/base/open.cpp": ("int f() {\n", ["not understood: line 1: '{' is not closed"]),
    "tools/functions.py": (
        f"def too_long():\n{'    pass' + chr(10)}{('    pass' + chr(10)) * 59}"
        "def seven(a, b, c, *, d, e, f, g):\n    pass\n"
        "class Shape:\n    def six(self, a, b, c, d, e, f):\n        pass\n"
        "    def many(self, a, b, c, d, e, *args, **rest):\n        pass\n",
        ["1: too_long has 61", "62: seven has 7", "67: many has 7"],
    ),
    **{f"tests/unit/many/test_{n}.cpp": ("\n", []) for n in range(FILES_IN_FOLDER + 1)},
    **{f"tests/decks/bad/{n}.in": ("\n", []) for n in range(FILES_IN_FOLDER + 1)},
}


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, (text, _) in PLANTED.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        problems, _ = check(root)
    for name, (_, expected) in PLANTED.items():
        found = [problem for problem in problems if problem.startswith(name + ":")]
        missed = [text for text in expected if not any(text in problem for problem in found)]
        assert not missed and len(found) == len(expected), (name, missed, found)
    crowded = [problem for problem in problems if "side by side" in problem]
    assert crowded == ["tests/unit/many: 21 sources side by side, at most 20 are allowed"], crowded


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
        sys.exit(0)
    offenders, number_of_sources = check(Path(sys.argv[1]))
    print("\n".join([*offenders, f"{number_of_sources} sources, {len(offenders)} above a limit"]))
    sys.exit(1 if offenders or not number_of_sources else 0)
