"""What the tests of th_translate's streams and jobs share: a small trained model."""

import subprocess

import th_run


class Job(th_run.SharedRunTest):
    def train_once(self):
        self.train_on_numbers(
            schedule__warmup_steps=60,
            train__max_steps=60,
            decode__max_length=20,
        )

    def setUp(self):
        super().setUp()
        self.lines = (self.folder / "train.en").read_text().splitlines()

    def write(self, name, lines):
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def popen(self, *options, ranks=0, **streams):
        process = subprocess.Popen(
            self.command("th_translate", [self.latest(), *options], ranks),
            cwd=self.folder,
            env=self.environment,
            **{"stderr": subprocess.PIPE, **streams},
        )
        self.addCleanup(th_run.end, process)
        return process

    def end_of(self, process, code):
        out, err = process.communicate(timeout=th_run.LIMIT_S)
        self.assertEqual(process.returncode, code, err)
        return out or b"", err.decode()

    def translate(self, *options, **keys):
        return self.program("th_translate", self.latest(), *options, **keys)

    def bytes_of(self, name):
        return (self.folder / name).read_bytes()
