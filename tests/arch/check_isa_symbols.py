#!/usr/bin/env python3
"""check_isa_symbols.py NM LIST build=TYPE sanitizers=NAMES: no two instruction sets share code.

LIST has a line for each set: its name, its namespace (th::model::avx2), its objects. An inline
function or template that an object defines outside of that namespace is a weak symbol, of which
the linker keeps one for the whole program: perhaps the one with instructions that this processor
does not have. The exit code is 77 (skipped, with the reason) for builds that leave small functions
as calls.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

SKIP = 77
BUILDS = ("Release", "RelWithDebInfo")
SHARED = "WVu"  # weak functions, weak objects, unique objects: those that nm finds defined


def mangled_prefix(namespace):
    """A pattern of the mangled names of what a namespace holds: functions, variables, types."""
    parts = "".join(f"{len(name)}{name}" for name in namespace.split("::"))
    return re.compile(rf"_Z(GV|T[VTISW])?Z*N[KVRO]*{parts}")


def shared_symbols(nm, namespace, objects):
    """(object, symbol) of each shared symbol outside of the namespace."""
    own = mangled_prefix(namespace)
    for path in objects:
        listing = subprocess.run(
            [nm, "--defined-only", "--format=posix", path],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for line in listing.splitlines():
            symbol, kind = line.split()[:2]
            if kind in SHARED and not own.match(symbol):
                yield path, symbol


def check(nm, lines):
    """The problems, a line each, and how many objects were read."""
    problems, count = [], 0
    for line in lines:
        isa, namespace, *objects = line.split()
        missing = [path for path in objects if not Path(path).is_file()]
        if missing:
            problems.append(f"{isa}: {missing[0]} is not built")
            continue
        count += len(objects)
        problems += [
            f"{isa}: {Path(path).name} defines {symbol}, which is not in {namespace}"
            for path, symbol in shared_symbols(nm, namespace, objects)
        ]
    return problems, count


def self_test(nm, compiler):
    """A shared inline function is found; one of the namespace, or of the object alone, is not."""
    source = """
    inline __attribute__((noinline)) int shared(int x) { return x + 1; }
    namespace th::model::avx2 {
    static __attribute__((noinline)) int alone(int x) { return x * 2; }
    template <typename T> __attribute__((noinline)) T own(T x) {
      static T n = x;
      return n++ + alone(x);
    }
    int all(int x) { return own(x) + SHARED(x); }
    }"""
    with tempfile.TemporaryDirectory() as folder:
        for function, expected in (("shared", 1), ("alone", 0)):
            out = Path(folder) / f"{function}.o"
            command = [compiler, "-std=c++20", f"-DSHARED={function}", "-c", "-x", "c++", "-"]
            subprocess.run([*command, "-o", out], input=source, text=True, check=True)
            problems, count = check(nm, [f"avx2 th::model::avx2 {out}"])
            assert count == 1 and len(problems) == expected, problems
        problems, _ = check(nm, ["avx2 th::model::avx2 /no/such/object.o"])
        assert "not built" in problems[0], problems


def main():
    if sys.argv[1] == "--self-test":
        self_test(*sys.argv[2:])
        return 0
    nm, listing, *settings = sys.argv[1:]
    build_type, sanitizers = (setting.split("=", 1)[1] for setting in settings)
    if build_type not in BUILDS or sanitizers:
        print(f"skipped: a build of type {build_type} {sanitizers} leaves small functions as calls")
        return SKIP
    problems, count = check(nm, Path(listing).read_text(encoding="utf-8").splitlines())
    print("\n".join(problems) if problems else f"{count} objects share no code between their sets")
    return 1 if problems or not count else 0


if __name__ == "__main__":
    sys.exit(main())
