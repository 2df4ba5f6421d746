"""A test case that runs tools/deepspeed2deck.py, and th_app --check on the deck that it makes."""

import json
import subprocess
import sys

import th_run

TOOLS = th_run.SOURCE / "tools"
TOOL = [sys.executable, "-B", str(TOOLS / "deepspeed2deck.py")]


class Conversion(th_run.ProgramTest):
    def tool(self, *words, code=0):
        done = subprocess.run(
            [*TOOL, *map(str, words)], cwd=self.folder, capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        return done

    def written(self, configuration):
        text = configuration if isinstance(configuration, str) else json.dumps(configuration)
        (self.folder / "ds.json").write_text(text)
        return "ds.json"

    def convert(self, configuration, *words):
        """(deck's path, {key: rest of its line} of standard error, notes apart)."""
        corpus = ["data.train_source=train.en", "data.train_target=train.fr"]
        done = self.tool(self.written(configuration), *corpus, *words)
        path = self.folder / "made.in"
        path.write_text(done.stdout)
        lines = [line.split(": ", 2) for line in done.stderr.splitlines()]
        self.assertEqual({line[0] for line in lines}, {"ds.json"})
        keys = (line for line in lines if len(line) == 3 and line[1] != "note")
        return path, {line[1]: line[2] for line in keys}

    def checked(self, configuration, *words):
        """({deck key: value} as th_app resolves them, the tool's lines); th_app warns of
        nothing."""
        deck, lines = self.convert(configuration, *words)
        result = self.program("th_app", deck, "--check")
        self.assertNotRegex(result.out + result.err, r"(?m)^(# )?warning")
        section, values = "", {}
        for line in result.out.splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif " = " in line and not line.startswith("#"):
                key, value = line.split("  #")[0].split(" = ", 1)
                values[f"{section}.{key}"] = value
        return values, lines

    def assert_values(self, values, expected):
        self.assertEqual(
            {key: plain(values.get(key)) for key in expected},
            {key: plain(value) for key, value in expected.items()},
        )


def plain(text):
    """A number where the text is one: th_app writes 0.0002 as 2e-04."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return text
