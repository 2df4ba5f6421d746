#!/usr/bin/env python3
"""The committed pictures of docs/architecture.md are those that tools/draw_pictures.py makes, and
the layers in them are those of the build. Planted differences of each kind are found."""

import sys
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "arch")]
sys.dont_write_bytecode = True

import check_layers
import draw_pictures

FOLDER = ROOT / "docs" / "pictures"
BUILD = (ROOT / "src" / "CMakeLists.txt").read_text()
LAYERS = (FOLDER / "layers.txt").read_text()


def differences(drawn=LAYERS, build=BUILD):
    return draw_pictures.compare_layers(
        draw_pictures.read(drawn), draw_pictures.layers_of_build(build), check_layers.LAYERS
    )


class CommittedPictures(unittest.TestCase):
    def test_are_what_their_sources_make(self):
        self.assertEqual(draw_pictures.problems_of(ROOT), [])

    def test_are_svg_with_every_word_of_their_source(self):
        for name in draw_pictures.PICTURES:
            picture = draw_pictures.read((FOLDER / f"{name}.txt").read_text())
            drawn = ElementTree.parse(FOLDER / f"{name}.svg")
            texts = drawn.iter("{http://www.w3.org/2000/svg}text")
            shown = " ".join(text.text or "" for text in texts)
            for box in picture.boxes.values():
                self.assertIn(box.name, shown)
                self.assertIn(box.text, shown)

    def test_every_picture_of_a_source_stands_on_the_page(self):
        page = (ROOT / "docs" / "architecture.md").read_text()
        sources = sorted(path.stem for path in FOLDER.glob("*.txt"))
        self.assertEqual(sources, sorted(draw_pictures.PICTURES))
        for name in sources:
            self.assertIn(f"(pictures/{name}.svg)", page)


class Layers(unittest.TestCase):
    def test_are_read_out_of_the_build(self):
        found = draw_pictures.layers_of_build(BUILD)
        self.assertEqual(found.keys(), check_layers.LAYERS.keys())
        self.assertEqual(found["io"], {"HDF5"})
        self.assertEqual(found["zero"], {"LibTorch"})

    def test_a_missing_layer_is_found(self):
        drawn = "\n".join(line for line in LAYERS.splitlines() if " score " not in line[:10])
        self.assertEqual(len(differences(drawn=drawn)), 1)
        build = BUILD + "\nth_add_layer(th_extra DIR extra DEPENDS th_base)\n"
        self.assertIn("extra", differences(build=build)[0])

    def test_another_level_or_library_is_found(self):
        moved = differences(drawn=LAYERS.replace("zero 4 1-6", "zero 5 1-6"))
        self.assertIn("level is 4", moved[0])
        unmarked = differences(drawn=LAYERS.replace("1-6 LibTorch", "1-6"))
        self.assertIn("zero", unmarked[1])
        linked = differences(build=BUILD.replace("th_runtime)", "MPI::MPI_CXX)"))
        self.assertIn("monitor", linked[0])


class Sources(unittest.TestCase):
    def test_a_changed_word_changes_the_picture(self):
        self.assertNotEqual(
            draw_pictures.draw(LAYERS), draw_pictures.draw(LAYERS.replace("typed", "plain"))
        )

    def test_an_unknown_line_is_refused(self):
        with self.assertRaisesRegex(ValueError, "'bx' begins no line"):
            draw_pictures.read("bx app 7 1-6 | text")

    def test_an_arrow_between_boxes_without_a_common_column_is_refused(self):
        step = (FOLDER / "step.txt").read_text() + "arrow BatchLoader StepEnd |\n"
        with self.assertRaisesRegex(ValueError, "no column in common"):
            draw_pictures.draw(step)


if __name__ == "__main__":
    unittest.main()
