#!/usr/bin/env python3
"""Draws docs/pictures/{layers,step}.svg from the text files beside them.

usage: tools/draw_pictures.py [--check]

--check writes nothing: it fails where a committed picture is not what its source makes, or where
the layers of layers.txt are not those of src/CMakeLists.txt and tests/arch/check_layers.py.

A source is a grid of boxes, one thing a line; % in a name is a space:
    title TEXT
    columns WIDTH …
    row NAME | TEXT                        from the top; TEXT stands at its left
    heading COLUMNS | TEXT                 COLUMNS: N or N-M
    mark NAME COLOUR                       boxes with the mark NAME have a label in that colour
    box NAME ROW COLUMNS [MARK …] | TEXT
    arrow NAME NAME | TEXT                 between boxes of one row, or of columns in common
"""

import html
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ("layers", "step")
LEFT, GAP, LINE, PAD = 96, 34, 16, 10
FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
CHARACTER = 6.7  # width of one at 12 px, wide fonts included
INK, SOFT, EDGE, FILL = "#1c1e21", "#59606b", "#8a93a0", "#f3f5f8"


@dataclass
class Box:
    name: str
    row: str
    columns: tuple
    marks: list
    text: str


@dataclass
class Picture:
    title: str = ""
    columns: list = field(default_factory=list)
    rows: dict = field(default_factory=dict)
    headings: list = field(default_factory=list)
    marks: dict = field(default_factory=dict)
    boxes: dict = field(default_factory=dict)
    arrows: list = field(default_factory=list)


def span_of(word):
    first, _, last = word.partition("-")
    return int(first), int(last or first)


def read(text):
    picture = Picture()
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if not kind or kind == "#":
            continue
        head, _, words = (part.strip() for part in rest.partition("|"))
        names = [name.replace("%", " ") for name in head.split()]
        if kind == "title":
            picture.title = rest
        elif kind == "columns":
            picture.columns = [int(word) for word in names]
        elif kind == "row":
            picture.rows[names[0]] = words
        elif kind == "heading":
            picture.headings.append((span_of(names[0]), words))
        elif kind == "mark":
            picture.marks[names[0]] = names[1]
        elif kind == "box":
            box = Box(names[0], names[1], span_of(names[2]), names[3:], words)
            picture.boxes[box.name] = box
        elif kind == "arrow":
            picture.arrows.append((names[0], names[1], words))
        else:
            raise ValueError(f"'{kind}' begins no line of a picture: {line}")
    return picture


def label_width(mark):
    return round(7.4 * len(mark)) + 16


def wrap(text, width):
    lines, room = [""], int((width - 2 * PAD) / CHARACTER)
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines


class Drawing:
    """Where everything stands, and the SVG of it."""

    def __init__(self, picture):
        self.picture = picture
        self.parts = []
        self.lines = {
            name: wrap(box.text, self.width(box.columns)) for name, box in picture.boxes.items()
        }
        self.top, y = {}, 70 if picture.headings else 46
        self.height = {}
        for row in picture.rows:
            rows = [len(self.lines[b.name]) for b in picture.boxes.values() if b.row == row]
            self.top[row], self.height[row] = y, 2 * PAD + LINE * (1 + max(rows))
            y += self.height[row] + (GAP if picture.arrows else 12)
        self.bottom = y + (26 if picture.marks else 14 - GAP)

    def left(self, column):
        gap = GAP if self.picture.arrows else 12
        return LEFT + sum(self.picture.columns[: column - 1]) + gap * (column - 1)

    def width(self, columns):
        return self.left(columns[1]) + self.picture.columns[columns[1] - 1] - self.left(columns[0])

    def text(self, x, y, words, more=""):
        self.parts.append(f'<text x="{x:g}" y="{y:g}"{more}>{html.escape(words)}</text>')

    def label(self, x, y, mark):
        """A mark, its right end at x; the left end."""
        width = label_width(mark)
        colour = self.picture.marks[mark]
        self.parts.append(
            f'<rect x="{x - width:g}" y="{y - 12:g}" width="{width}" height="16" rx="8" '
            f'fill="{colour}"/>'
        )
        self.text(x - width / 2, y, mark, ' class="mark" text-anchor="middle"')
        return x - width - 6

    def box(self, box):
        x, y, width = self.left(box.columns[0]), self.top[box.row], self.width(box.columns)
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{self.height[box.row]:g}" '
            f'rx="6" fill="{FILL}" stroke="{EDGE}"/>'
        )
        self.text(x + PAD, y + PAD + 11, box.name, ' class="name"')
        end = x + width - PAD
        for mark in box.marks:
            end = self.label(end, y + PAD + 11, mark)
        for number, line in enumerate(self.lines[box.name], 1):
            self.text(x + PAD, y + PAD + 11 + LINE * number, line)

    def arrow(self, start, end, words):
        a, b = self.picture.boxes[start], self.picture.boxes[end]
        if a.row == b.row:
            y = self.top[a.row] + self.height[a.row] / 2
            x1, x2 = self.left(a.columns[0]) + self.width(a.columns), self.left(b.columns[0])
            y1 = y2 = y
        else:
            first = max(a.columns[0], b.columns[0])
            last = min(a.columns[1], b.columns[1])
            if first > last:
                raise ValueError(f"arrow {start} {end}: they have no column in common")
            x1 = x2 = self.left(first) + self.width((first, last)) / 2
            y1, y2 = self.top[a.row] + self.height[a.row], self.top[b.row]
            self.text(x1 + 7, y2 - 12, words, ' class="soft"')
        self.parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2 - 2 * (x1 == x2):g}" '
            f'stroke="{SOFT}" stroke-width="1.4" marker-end="url(#head)"/>'
        )

    def legend(self):
        x = LEFT
        self.text(x, self.bottom - 14, "links:", ' class="soft"')
        x += 44
        for mark in self.picture.marks:
            width = label_width(mark)
            self.label(x + width, self.bottom - 14, mark)
            x += width + 8

    def svg(self):
        picture = self.picture
        width = LEFT + self.width((1, len(picture.columns))) + 12
        self.text(LEFT, 24, picture.title, ' class="title"')
        for columns, words in picture.headings:
            x = self.left(columns[0]) + self.width(columns) / 2
            self.text(x, 56, words, ' class="soft" text-anchor="middle"')
        for arrow in picture.arrows:
            self.arrow(*arrow)
        for row, words in picture.rows.items():
            y = self.top[row] + self.height[row] / 2 + 4
            shown = row if row.isdigit() else words
            self.text(LEFT - 12, y, shown, ' class="soft" text-anchor="end"')
        for box in picture.boxes.values():
            self.box(box)
        if picture.marks:
            self.legend()
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" '
                f'height="{self.bottom:g}" viewBox="0 0 {width:g} {self.bottom:g}" role="img">',
                f"<title>{html.escape(picture.title)}</title>",
                f"<style>text{{font:12px {FONT};fill:{INK}}}.name{{font-weight:bold}}"
                f".soft{{fill:{SOFT}}}.title{{font-size:15px;font-weight:bold}}"
                ".mark{fill:#fff;font-size:11px;font-weight:bold}</style>",
                '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
                f'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{SOFT}"/>'
                "</marker>",
                f'<rect width="{width:g}" height="{self.bottom:g}" fill="#fff"/>',
                *self.parts,
                "</svg>\n",
            ]
        )


def layers_of_build(text):
    """Layer: the marks of its libraries, out of the text of src/CMakeLists.txt."""
    marks = {"MPI::MPI_CXX": "MPI", "th_hdf5": "HDF5"}
    found = {}
    lines = re.sub(r"(?m)#.*$", "", text)
    listed = dict(re.findall(r"set\((\w+)\s+([\w/]+)/", lines))
    globs = r"file\(GLOB(?:_RECURSE)? (\w+)\s+(?:CONFIGURE_DEPENDS )?(\w+)/"
    listed.update(re.findall(globs, lines))
    for call in re.findall(r"th_add_layer\(([^)]*)\)", re.sub(r"\$\{(\w+)\}", r"\1", lines)):
        words = call.split()
        source = words[words.index("DIR" if "DIR" in words else "SOURCES") + 1]
        layer = listed.get(source, source).split("/")[0]
        have = found.setdefault(layer, set())
        have |= {mark for word, mark in marks.items() if word in words}
        if "TORCH" in words:
            have.add("LibTorch")
    for folder in re.findall(r"add_subdirectory\((\w+)\)", lines):
        found.setdefault(folder, set())
    return found


def compare_layers(picture, build, levels):
    """What layers.txt says otherwise than the build and the test of includes."""
    drawn = {name: set(box.marks) - {"CUDA"} for name, box in picture.boxes.items()}
    problems = [
        f"layers.txt: {name}: drawn {drawn.get(name)}, src/CMakeLists.txt has {build.get(name)}"
        for name in sorted(drawn.keys() | build.keys())
        if drawn.get(name) != build.get(name)
    ]
    for name, box in picture.boxes.items():
        if levels.get(name) != int(box.row):
            problems.append(f"layers.txt: {name} in row {box.row}, its level is {levels.get(name)}")
    return problems


def problems_of(root):
    sys.path.insert(0, str(root / "tests" / "arch"))
    import check_layers

    folder = root / "docs" / "pictures"
    problems = []
    for name in PICTURES:
        if (folder / f"{name}.svg").read_text() != draw((folder / f"{name}.txt").read_text()):
            problems.append(f"{name}.svg is not what {name}.txt makes: run tools/draw_pictures.py")
    build = layers_of_build((root / "src" / "CMakeLists.txt").read_text())
    picture = read((folder / "layers.txt").read_text())
    return problems + compare_layers(picture, build, check_layers.LAYERS)


def draw(text):
    return Drawing(read(text)).svg()


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    if sys.argv[1:]:
        found = problems_of(ROOT)
        print(*found, sep="\n")
        sys.exit(1 if found else 0)
    for name in PICTURES:
        source = ROOT / "docs" / "pictures" / f"{name}.txt"
        source.with_suffix(".svg").write_text(draw(source.read_text()))


if __name__ == "__main__":
    main()
