#!/usr/bin/env python3
"""check_layers.py ROOT: fails on an #include "th/<layer>/…" that points to a higher layer, or on a
torch or MPI header where a layer has none."""

import re
import sys
import tempfile
from pathlib import Path

LAYERS = {
    "base": 0,
    "runtime": 1,
    "cuda": 1,
    "score": 1,
    "config": 2,
    "data": 3,
    "model": 3,
    "zero": 4,
    "io": 5,
    "monitor": 5,
    "train": 6,
    "app": 7,
}
# Layers on one level that do not know each other: (from, to). The model reads data's Batch, never
# the other way round.
STRANGERS = {("runtime", "cuda"), ("data", "model"), ("io", "monitor"), ("monitor", "io")}
STRANGERS |= {("score", "runtime"), ("score", "cuda"), ("runtime", "score"), ("cuda", "score")}
FORBIDDEN = {  # pattern of an include: layers that may not have it
    r"(ATen|torch|c10)/": {"base", "runtime", "cuda", "score", "config", "data", "io", "monitor"},
    r"mpi\.h": {"base", "score", "config", "data", "model"},
    r"(cuda|nccl)[a-z0-9_]*\.h": {
        "base",
        "runtime",
        "score",
        "config",
        "data",
        "io",
        "monitor",
        "app",
    },
    r"hdf5\.h|H5": {
        "base",
        "runtime",
        "cuda",
        "score",
        "config",
        "data",
        "model",
        "zero",
        "monitor",
        "train",
        "app",
    },
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.M)


def files_of(root):
    """(file, layer, level) of each header and source; an unknown folder has level None."""
    for top in (root / "include" / "th", root / "src"):
        for path in sorted(top.rglob("*")):
            if path.suffix in (".hpp", ".h", ".cpp", ".cu", ".cuh") and path.parent != top:
                layer = path.relative_to(top).parts[0]
                yield path, layer, LAYERS.get(layer)


def layer_of(included):
    """The layer of th/<layer>/… or of a private <layer>/…; None for other people's headers."""
    parts = included.split("/")
    if parts[0] == "th":
        return parts[1]
    return parts[0] if len(parts) > 1 and parts[0] in LAYERS else None


def room_of(path):
    """The folder of a file below src/ or include/th/, or of an include of one."""
    parts = path.split("/")
    return "/".join(parts[1:-1] if parts[0] == "th" else parts[:-1])


def two_way_rooms(root):
    """Pairs of folders whose files include each other."""
    edges = set()
    for path, _, level in files_of(root):
        top = root / "include" if path.is_relative_to(root / "include") else root / "src"
        here = room_of(path.relative_to(top).as_posix())
        for match in INCLUDE.finditer(path.read_text(encoding="utf-8")):
            if level is not None and layer_of(match.group(2)) in LAYERS:
                edges.add((here, room_of(match.group(2))))
    return [
        f"{a} and {b} include each other" for a, b in sorted(edges) if a < b and (b, a) in edges
    ]


def check(root):
    problems, edges = [], 0
    for path, layer, level in files_of(root):
        where = path.relative_to(root)
        if level is None:
            problems.append(
                f"{where}: folder '{layer}' is no layer; layers are {', '.join(LAYERS)}"
            )
            continue
        text = path.read_text(encoding="utf-8")
        for match in INCLUDE.finditer(text):
            line = text.count("\n", 0, match.start(2)) + 1
            included = match.group(2)
            target = layer_of(included)
            if target is None:
                problems += [
                    f"{where}:{line}: layer {layer} may not include {included}"
                    for pattern, layers in FORBIDDEN.items()
                    if layer in layers and re.match(pattern, included)
                ]
                continue
            edges += 1
            target_level = LAYERS.get(target)
            top = "include" if included.startswith("th/") else "src"
            if not (root / top / included).is_file():
                problems.append(f"{where}:{line}: {included} does not exist")
            elif top == "src" and target != layer:
                problems.append(f"{where}:{line}: {included} is private to layer {target}")
            elif target_level is None or target_level > level:
                problems.append(
                    f"{where}:{line}: upward include: {layer} ({level}) includes {included} "
                    f"({target_level})"
                )
            elif (layer, target) in STRANGERS:
                problems.append(
                    f"{where}:{line}: {layer} stands beside {target} and may not include it: "
                    f"{included}"
                )
    return problems + two_way_rooms(root), edges


def self_test():
    """Planted edges up, sideways, to private headers, to torch and both ways are found; one down is
    not."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in {
            "include/th/base/a.hpp": '#include "th/train/t.hpp"\n',
            "include/th/train/t.hpp": '#include "th/base/b.hpp"\n',
            "include/th/base/b.hpp": "",
            "src/data/d.cpp": '#include <ATen/ATen.h>\n#include "th/model/m.hpp"\n'
            '#include "model/p.hpp"\n',
            "src/model/p.hpp": "",
            "include/th/model/m.hpp": '#include "th/config/c.hpp"\n',
            "include/th/config/c.hpp": "",
            "src/io/x/a.hpp": '#include "io/y/b.hpp"\n',
            "src/io/y/b.hpp": '#include "io/x/a.hpp"\n',
        }.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        problems, edges = check(root)
        expected = ["upward include: base", "may not include ATen", "beside", "private"]
        expected += ["each other"]
        assert len(problems) == 6 and all(any(e in p for p in problems) for e in expected), problems
        assert edges == 7, edges


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
        sys.exit(0)
    found, count = check(Path(sys.argv[1]))
    print("\n".join(found) if found else f"{count} includes, none upward")
    sys.exit(1 if found or count == 0 else 0)
