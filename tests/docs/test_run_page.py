#!/usr/bin/env python3
"""run_page.py on made pages, with a script in th_app's place that prints its words."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).with_name("run_page.py")
APP = '#!/bin/bash\necho "app: $*"; [ "$1" != wrong.in ] || exit 3\n'


class RunPage(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="th-run-page-test.")
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        for name in ("bin", "tools", "inputs", "jobs", "docs"):
            (self.root / name).mkdir()
        (self.root / "tools" / "run_env.sh").write_text("export MADE=yes\n")
        (self.root / "bin" / "th_app").write_text(APP)
        (self.root / "bin" / "th_app").chmod(0o755)

    def page(self, *parts, whole=False, code=0):
        """The output of run_page.py for a page of (comment, commands) and (comment, output)."""
        text = "# A page\n"
        for comment, language, block in parts:
            text += f"<!-- test: {comment} -->\n" if comment else ""
            text += f"```{language}\n{block}\n```\n\n" if language is not None else ""
        path = self.root / "docs" / "page.md"
        path.write_text(text)
        words = [sys.executable, SCRIPT, self.root, self.root / "bin", path]
        done = subprocess.run(
            words + (["--long"] if whole else []), capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_blocks_share_a_folder_and_the_environment(self):
        out = self.page(
            ("before echo 1 > first", None, ""),
            ("", "sh", "test -e first && test $MADE = yes && touch inputs/second"),
            ("", "sh", "test -e inputs/second && build/bin/th_app a.in"),
            ("", "", "no command"),
        )
        self.assertIn("page.md: 2 run, 0 shortened, 0 long, 0 skipped, 0 outputs compared", out)
        self.assertEqual(list((self.root / "inputs").iterdir()), [], "the source is left alone")

    def test_a_block_that_fails_fails_the_page(self):
        self.assertIn("exit code 1, expected 0", self.page(("", "sh", "false\ntrue"), code=1))
        self.assertIn("exit code 1, expected 0", self.page(("", "sh", "false | true"), code=1))
        self.assertIn("expected 3", self.page(("run code=3", "sh", "true"), code=1))
        self.page(("run code=3", "sh", "build/bin/th_app wrong.in"))
        self.assertIn("no ```sh block", self.page(("", "", "text"), code=1))

    def test_keys_stand_behind_a_deck_that_trains_and_are_left_out_by_long(self):
        block = "build/bin/th_app a.in --x.b=7"
        more = f"test \"$({block})\" = 'app: a.in --x.b=7 x.a=1'"
        shortened = ("run keys=x.a=1,x.b=2", "sh", more)
        whole = ("run keys=x.a=1", "sh", f"test \"$({block})\" = 'app: a.in --x.b=7'")
        check = ("run keys=x.a=1", "sh", "test \"$(build/bin/th_app a.in --check | wc -w)\" = 3")
        self.assertIn("2 shortened", self.page(shortened, check))
        self.assertIn("1 run, 0 shortened", self.page(whole, whole=True))

    def test_long_and_skipped_blocks_are_counted_with_their_reason(self):
        parts = (("long", "sh", "touch made"), ("skip it needs a ship", "sh", "false"))
        out = self.page(*parts)
        self.assertIn("page.md:8: skipped: it needs a ship", out)
        self.assertIn("0 run, 0 shortened, 1 long, 1 skipped", out)
        self.assertIn("1 run, 0 shortened, 0 long, 1 skipped", self.page(*parts, whole=True))

    def test_output_is_compared_with_what_came(self):
        block = ("", "sh", "echo 'a: 3 of 5 b'; echo c")
        self.assertIn("1 outputs compared", self.page(block, ("output", "", "a: … of 5 b\nc")))
        for other in ("a: … of 6 b", "a: 3", "d"):
            self.assertIn("lines that do not come", self.page(block, ("output", "", other), code=1))
        shortened = ("run keys=a.b=1", "sh", "echo a")
        self.assertIn("0 outputs compared", self.page(shortened, ("output", "", "b")))

    def test_a_translation_has_the_same_commands_and_is_not_run(self):
        comment = ("run code=3", "sh", "exit 3  # three")
        self.page(comment, ("output", "", "a"), code=1)
        (self.root / "docs" / "page.md").rename(self.root / "docs" / "first.md")
        translated = ("run code=3", "sh", "exit 3  # drei")
        same = ("same as first.md", None, "")
        out = self.page(same, translated, ("output", "", "a"))
        self.assertIn("2 blocks, the same as those of first.md", out)
        for other in (("run code=3", "sh", "exit 4"), ("run code=4", "sh", "exit 3")):
            self.assertIn("block 1 differs", self.page(same, other, code=1))
        self.assertIn("has 1 blocks", self.page(same, translated, code=1))


if __name__ == "__main__":
    unittest.main()
