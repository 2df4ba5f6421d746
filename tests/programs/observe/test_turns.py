#!/usr/bin/env python3
"""Two programs that benchmarks/peers/alternate.py measures side by side take turns. Their steps are
timed, so this test runs by itself."""

import sys
import tempfile
import unittest
from pathlib import Path

from th_run import SOURCE, main

sys.path.insert(0, str(SOURCE / "benchmarks" / "peers"))
import alternate  # noqa: E402


class Turns(unittest.TestCase):
    def test_runs_side_by_side_take_turns(self):
        step = (
            "import sys, time\nwhile True:\n    time.sleep(.02)\n"
            "    open(sys.argv[1], 'a').write(f'{time.time()}\\n')"
        )
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder, name) for name in ("a", "b")]

            def times(file):
                return [float(line) for line in file.read_text().split()] if file.exists() else []

            def start(file):
                # The step is a grandchild, as a launcher's ranks are.
                command = [
                    "bash",
                    "-c",
                    '"$@"; true',
                    "bash",
                    sys.executable,
                    "-c",
                    step,
                    str(file),
                ]
                return lambda: alternate.Run(
                    command,
                    None,
                    lambda: [b - a for a, b in zip(times(file), times(file)[1:])],
                    Path(folder, "log"),
                )

            seen = list(alternate.slices(start(files[0]), start(files[1]), 2, 3, 0.4, 30))
            self.assertEqual(len(seen), 3)
            for seconds, rss in seen:
                self.assertTrue(all(0.02 <= s < 0.2 for s in seconds), seconds)
                self.assertTrue(all(bytes_ > 1 << 20 for bytes_ in rss))
            marked = sorted([(t, 0) for t in times(files[0])] + [(t, 1) for t in times(files[1])])
            turns = sum(a != b for (_, a), (_, b) in zip(marked, marked[1:]))
            self.assertLessEqual(turns, 8, "a slice each, and the warm-up of both")


if __name__ == "__main__":
    main()
