"""What the tests of whole programs share: a temporary folder with a small corpus, runs of th_app in
it, and metrics.jsonl as text.

Numbers of metrics.jsonl stay the text that stands there: it reads back to the same bits, so equal
text is equal bits.
"""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("TH_SOURCE_DIR", Path(__file__).resolve().parents[2]))
BIN = Path(os.environ.get("TH_BIN_DIR", SOURCE / "build" / "bin"))
MPIRUN = os.environ.get("TH_MPIRUN", "mpirun")
DECK = SOURCE / "inputs" / "stage2.in"
LIMIT_S = 120  # no program of these tests runs that long; one that does hangs
SKIP = 77
# Whole matrices of ranks, stages and kinds, of which a covering set runs otherwise.
LONG = "--long" in sys.argv
if LONG:
    sys.argv.remove("--long")

# inputs/stage2.in made small: 480 pairs in slots of 10, 8 slots a step: an epoch is 6 steps.
# Dropout (0.1) stays on. A warm-up of 20 steps makes the parameters move within a few steps.
SMALL = {
    "model.d_model": 64,
    "model.num_heads": 4,
    "model.num_encoder_layers": 1,
    "model.num_decoder_layers": 1,
    "model.d_ff": 128,
    "data.train_source": "train.en",
    "data.train_target": "train.fr",
    "data.valid_source": "valid.en",
    "data.valid_target": "valid.fr",
    "data.test_source": "",
    "data.test_target": "",
    "data.batch_size": 10,
    "schedule.warmup_steps": 20,
    "run.output_dir": "out",
}


@functools.cache
def environment():
    """The variables that tools/run_env.sh gives to a shell; not to be changed."""
    script = f'. "{SOURCE}/tools/run_env.sh" && env -0'
    pairs = (
        subprocess.run(["bash", "-c", script], check=True, capture_output=True)
        .stdout.decode()
        .split("\0")
    )
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


@functools.cache
def is_open_mpi():
    """Whether the programs' launcher is Open MPI's; else it is MPICH's."""
    done = subprocess.run([MPIRUN, "--version"], capture_output=True, text=True, check=False)
    return re.search("Open MPI|OpenRTE|PRRTE", done.stdout) is not None


def rank_variable():
    """Where the launcher tells a process its rank."""
    return "OMPI_COMM_WORLD_RANK" if is_open_mpi() else "PMI_RANK"


def skip_without_int8(test):
    if "avx512_vnni" not in Path("/proc/cpuinfo").read_text():
        test.skipTest("the processor has no products in int8")


def open_mpi_alone(test):
    """Decorates a test, or a class of them, of what Open MPI alone has."""
    return unittest.skipUnless(is_open_mpi(), "it is about Open MPI's settings")(test)


NUMBERS = {
    f"data__train_{side}": SOURCE / "inputs" / "data" / f"numbers.train.{language}"
    for side, language in (("source", "en"), ("target", "fr"))
}


class Result:
    def __init__(self, command, code, out, err):
        self.command, self.code, self.out, self.err = command, code, out, err

    def __str__(self):
        return f"$ {' '.join(map(str, self.command))}\nexit code {self.code}\n{self.out}{self.err}"


class ProgramTest(unittest.TestCase):
    """One temporary folder for each test method; programs run in it."""

    maxDiff = None

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="th-program-test."))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.environment = dict(environment())
        for language in ("en", "fr"):
            for part, count in (("train", 480), ("valid", 40)):
                lines = (
                    (SOURCE / "inputs" / "data" / f"numbers.{part}.{language}")
                    .read_text()
                    .splitlines(keepends=True)
                )
                (self.folder / f"{part}.{language}").write_text("".join(lines[:count]))

    def program(self, name, *arguments, code=0, text=None, ranks=0):
        """Runs build/bin/NAME (below mpirun when ranks is given) to its end and expects the exit
        code."""
        command = self.command(name, arguments, ranks)
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment,
                input=text,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
            )
        except subprocess.TimeoutExpired as error:
            self.fail(f"no end within {LIMIT_S} s: {error.cmd}\n{error.stdout}\n{error.stderr}")
        result = Result(command, done.returncode, done.stdout, done.stderr)
        self.assertEqual(result.code, code, f"exit code {result.code}, expected {code}\n{result}")
        return result

    def command(self, name, arguments, ranks):
        launcher = [MPIRUN, "-np", str(ranks)] if ranks else []
        return [*launcher, str(BIN / name), *map(str, arguments)]

    def overrides(self, keys):
        """`section.key=value` words: SMALL with the given keys (written section__key) over it."""
        merged = {**SMALL, **{key.replace("__", "."): value for key, value in keys.items()}}
        return [f"{key}={value}" for key, value in merged.items()]

    def train(self, ranks=0, code=0, **keys):
        """A run of the small deck: self.train(ranks=4, zero__stage=2, train__max_steps=14)."""
        return self.program("th_app", DECK, *self.overrides(keys), code=code, ranks=ranks)

    def train_on_numbers(self, **keys):
        """The same on all of the shipped corpus, in slots of 16: long enough, translations differ
        from line to line."""
        return self.train(**{"ranks": 2, "data__batch_size": 16, **NUMBERS, **keys})

    made_once = {}  # what a run was made of -> the folder that keeps it

    def train_once_for_all(self, run="whole", **keys):
        """A run of one process that tests of a script compare with: made for the first of them, a
        copy for others with the same keys, texts and variables."""
        shutil.rmtree(self.folder / run, ignore_errors=True)
        texts = [path for path in self.folder.iterdir() if path.is_file() and path.suffix != ".log"]
        made_of = frozenset(
            (
                *self.overrides({"run__output_dir": run, **keys}),
                *((path.name, path.read_bytes()) for path in texts),
                *self.environment.items(),
            )
        )
        if made_of in self.made_once:
            shutil.copytree(self.made_once[made_of] / run, self.folder / run)
            return
        self.train(run__output_dir=run, **keys)
        kept = Path(tempfile.mkdtemp(prefix="th-program-test."))
        unittest.addModuleCleanup(shutil.rmtree, kept, ignore_errors=True)
        shutil.copytree(self.folder / run, kept / run)
        self.made_once[made_of] = kept

    def start(self, ranks=0, **keys):
        """A run as by train(), not waited for: a Popen, with its output in self.folder /
        'started.log'."""
        log = open(self.folder / "started.log", "w", encoding="utf-8")
        self.addCleanup(log.close)
        process = subprocess.Popen(
            self.command("th_app", [DECK, *self.overrides(keys)], ranks),
            cwd=self.folder,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        self.addCleanup(end, process)
        return process

    def wait_for_steps(self, process, count, run="out"):
        """Until metrics.jsonl has that many step records; the run must not end before."""
        path = self.folder / run / "metrics.jsonl"
        end_of_wait = time.monotonic() + LIMIT_S
        while not path.exists() or path.read_text().count('"kind":"step"') < count:
            self.assertIsNone(
                process.poll(), f"the run ended before step {count}:\n{self.started_log()}"
            )
            self.assertLess(
                time.monotonic(),
                end_of_wait,
                f"step {count} was not reached within {LIMIT_S} s:\n{self.started_log()}",
            )
            time.sleep(0.01)

    def started_log(self):
        return (self.folder / "started.log").read_text()

    def metrics(self, run="out", kind=None):
        """The records of metrics.jsonl as dicts, numbers as text; every line must be a whole
        record."""
        text = (self.folder / run / "metrics.jsonl").read_text()
        self.assertTrue(
            text.endswith("\n"), f"the last line of metrics.jsonl is torn: {text[-80:]!r}"
        )
        records = [
            json.loads(line, parse_float=str, parse_int=str, parse_constant=self.fail)
            for line in text.splitlines()
        ]
        return [record for record in records if kind is None or record["kind"] == kind]

    def bits(self, run="out"):
        """What must not depend on how a run was cut: (steps, epochs), each without its seconds."""

        def rows(kind):
            return [
                {key: value for key, value in record.items() if key != "seconds"}
                for record in self.metrics(run, kind)
            ]

        return rows("step"), rows("epoch")

    def assert_same_run(self, run, reference):
        for seen, expected, kind in zip(self.bits(run), self.bits(reference), ("step", "epoch")):
            self.assertEqual(
                seen, expected, f"the {kind} records of {run} differ from those of {reference}"
            )

    def assert_same_run_of_a_gpu(self, run, reference):
        """Bit for bit, but for the validation loss: a GPU adds the losses of a batch in fp64, the
        host those of each sentence, and each sum is rounded to 2^-32 before all are added."""
        losses = []
        (steps, epochs), (expected_steps, expected) = self.bits(run), self.bits(reference)
        self.assertEqual(steps, expected_steps)
        for records in (epochs, expected):
            losses.append([float(record.pop("valid_loss") or "nan") for record in records])
        self.assertEqual(epochs, expected)
        for seen, loss in zip(*losses):
            self.assertLessEqual(abs(seen - loss), 1e-11 * abs(loss))

    def assert_same_checkpoint(self, run, reference):
        """Every value of the last checkpoints, states and vocabularies too."""
        self.program("th_inspect", "diff", self.latest(run), self.latest(reference))

    def checkpoints(self, run="out"):
        return sorted(
            path.name
            for path in (self.folder / run / "checkpoints").iterdir()
            if path.name not in ("latest", "best", "final")
        )

    def latest(self, run="out"):
        folder = self.folder / run / "checkpoints"
        name = (folder / "latest").read_text()
        self.assertRegex(name, r"\Astep_\d{8}\n\Z")
        return folder / name.strip()

    def assert_one_message(self, result, *patterns):
        """Exactly one line of the output has all patterns, and nothing there looks like a crash."""
        text = result.out + result.err
        lines = [
            line
            for line in text.splitlines()
            if all(re.search(pattern, line) for pattern in patterns)
        ]
        self.assertEqual(len(lines), 1, f"lines with {patterns}: {len(lines)}\n{result}")
        self.assertNotRegex(
            text, "terminate called|Segmentation fault|core dumped|Traceback|MPI_ABORT was invoked"
        )


class SharedRunTest(ProgramTest):
    """Each test method gets its own copy of one run, `out`, which train_once() makes for the first
    of them."""

    kept = None

    def train_once(self):
        raise NotImplementedError

    def setUp(self):
        super().setUp()
        if type(self).kept is None:
            self.train_once()
            type(self).kept = Path(tempfile.mkdtemp(prefix="th-program-test."))
            type(self).addClassCleanup(shutil.rmtree, type(self).kept, ignore_errors=True)
            shutil.copytree(self.folder / "out", type(self).kept / "out")
        else:
            shutil.copytree(type(self).kept / "out", self.folder / "out")


def mount_namespace():
    """The command in front of another one that may then mount, for itself alone."""
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", "--propagation", "private", *own]


def end(process):
    """Kills a started run that is still there; mpirun ends its ranks on SIGTERM."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tree(folder):
    """{relative path: bytes} of everything below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def use_python_with(*modules, candidates=()):
    """Goes on in the first Python that has the modules; without one the test is skipped, with its
    reason."""
    statement = "import " + ", ".join(modules)
    own = [os.environ.get("TH_PYTHON"), SOURCE / ".deps" / "venv" / "bin" / "python", "python3"]
    if os.environ.get("TH_PROGRAM_TEST_PYTHON") == statement:
        return  # the second start, below
    for python in filter(None, [*candidates, *own]):
        path = shutil.which(str(python))
        if (
            path
            and subprocess.run([path, "-c", statement], capture_output=True, check=False).returncode
            == 0
        ):
            os.environ["TH_PROGRAM_TEST_PYTHON"] = statement
            os.execv(path, [path, *sys.argv])
    print(f"skipped: no Python here can '{statement}'")
    sys.exit(SKIP)


def main():
    """Runs the tests of the script; 77 when every one was skipped."""
    result = unittest.main(module="__main__", exit=False, verbosity=2).result
    for _, reason in result.skipped:
        print(f"skipped: {reason}")
    if not result.wasSuccessful() or result.testsRun == 0:
        sys.exit(1)
    sys.exit(SKIP if len(result.skipped) == result.testsRun else 0)
