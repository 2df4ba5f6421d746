#!/usr/bin/env python3
"""Compares the results of two builds of th_app bit for bit.

usage: tools/compare_builds.py BASE_BUILD NEW_BUILD [--quick] [--only REGEX] [--keep DIR]
       tools/compare_builds.py BASE_BUILD NEW_BUILD --self-test
       tools/compare_builds.py --list
  BASE_BUILD, NEW_BUILD  build folders with bin/ and fake_cuda/ (targets th_app th_inspect
                         th_translate th_corpus th_fake_cuda)
  --quick                runs 6 steps a case in place of 20
  --only REGEX           runs the cases whose names match
  --keep DIR             leaves what the runs wrote in DIR, a folder for each case
  --self-test            trains NEW with another seed, and checks that this is found
  --list                 prints the names of the cases

Every case runs the same words with the programs of both builds, in folders that are alike, and
compares: the records of metrics.jsonl (as text, which reads back to the same bits; without times
and bytes of memory), test.hyp, all tensors of all checkpoints (th_inspect diff of NEW_BUILD), and
what the other programs print. A line a case: `same  NAME` or `DIFFERS NAME: first difference`.
Exit code 0: all the same, 1: some differ or a run failed, 2: wrong use.
"""
import argparse
import dataclasses
import functools
import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INPUTS = ROOT / "inputs"
PROGRAMS = ("th_app", "th_inspect", "th_translate", "th_corpus")
LIMIT_S = 1800  # No run takes so long, on a busy machine either; one that does hangs.
LINES = {"train": 480, "valid": 24, "test": 12}  # So many lines of the shipped corpus are used.
TEXTS = {f"data.{part}_{side}": f"numbers.{part}.{language}" for part in LINES
         for side, language in (("source", "en"), ("target", "fr"))}

# Times, bytes of memory and a run's id differ from one run to the next, or may change on purpose.
UNCOMPARED = {"run", "seconds", "tokens_per_second", "rss_before_model_bytes", "peak_rss_bytes",
              "model_state_bytes", "planned_bytes", "measured_bytes"}
# These parts of a plan are measured, or follow from the memory and disk that are free just now.
MEASURED = [r"A step takes about .*", r", \S+ \S+ are free below .*", r"This node has .* itself;",
            r"(The largest|Any) data\.batch_tokens .*"]

# A small model moves within a few steps; 480 pairs in slots of 10 are 6 steps an epoch.
SMALL = {"model.d_model": 64, "model.num_encoder_layers": 1, "model.num_decoder_layers": 1,
         "model.d_ff": 128, "data.batch_size": 10, "schedule.warmup_steps": 20}
DEEP = {**SMALL, "model.d_model": 32, "model.num_encoder_layers": 5, "model.num_decoder_layers": 4}
# So long a training gives translations that differ from line to line.
TRAINED = {**SMALL, "data.train_source": INPUTS / "data" / "numbers.train.en",
           "data.train_target": INPUTS / "data" / "numbers.train.fr", "data.batch_size": 16,
           "schedule.warmup_steps": 100, "train.max_steps": 140, "checkpoint.every_steps": 0,
           "decode.max_length": 20}
SYNTHETIC = {**SMALL, **dict.fromkeys(TEXTS, ""), "data.synthetic": "random_ids",
             "data.vocab_size": 500, "data.synthetic_length": 16}
GPU = {**SMALL, "run.device": "cuda", "run.attention": "products"}


class Difference(Exception):
    """The text says where two builds differ first, or which program failed."""


@dataclasses.dataclass(frozen=True)
class Build:
    role: str  # It is `base` or `new`.
    folder: Path
    changed: tuple = ()  # These words come last in every training: the self-test's.


@dataclasses.dataclass(frozen=True)
class Training:
    """One training: a shipped deck with other values of some keys."""
    name: str
    ranks: int
    keys: dict
    deck: str = "stage2.in"
    gpus: int = 0
    variables: tuple = ()


def variants():
    """Trainings on CPUs: the shipped decks, and a small model, once for each choice."""
    for deck, ranks in itertools.product(("stage1.in", "stage2.in", "stage3.in"), (1, 3, 8)):
        yield Training(f"{deck}, ranks={ranks}", ranks, {}, deck)

    def one(name, ranks=2, base=SMALL, **keys):
        return Training(name, ranks, {**base, **{k.replace("__", "."): v for k, v in keys.items()}})

    yield one("fp32, overlap off", 3, comm__overlap="off", data__num_workers=0)
    yield one("bf16", 3, precision__dtype="bf16")
    yield one("fp16", 3, precision__dtype="fp16")
    yield one("bf16, gradients too, stage 3", precision__dtype="bf16", zero__stage=3,
              precision__reduce_dtype="working", comm__overlap="on")
    for how in ("selective", "full", "sqrt"):
        yield one(f"checkpointing {how}", 2, DEEP, zero__stage=3, model__gradient_checkpointing=how)
    yield one("norm post", model__norm="post")
    yield one("tied embeddings", model__tie_embeddings="true")
    yield one("tied embeddings, norm post, stage 3, sqrt", 2, DEEP, model__tie_embeddings="true",
              model__norm="post", zero__stage=3, model__gradient_checkpointing="sqrt")
    yield one("attention products", run__attention="products")
    for library in ("onednn", "mkl"):
        yield one(f"gemm {library}", 1, run__gemm=library)
    yield one("label smoothing", train__label_smoothing=0.1)
    yield one("overlap on", 3, comm__overlap="on")
    yield one("overlap on, stage 3, prefetch", 3, comm__overlap="on", zero__stage=3,
              zero__prefetch_units=2, zero__persistence_threshold=20000)
    yield one("stage 0, threads=2", zero__stage=0, run__threads=2, checkpoint__async="false")
    yield one("reduction fast", 3, comm__reduction="fast")
    yield one("adamw, cosine, sort_window", optimizer__name="adamw", optimizer__lr=0.001,
              optimizer__weight_decay=0.01, schedule__name="cosine", data__sort_window=3)
    tokens = one("batch_tokens", data__batch_tokens=150, checkpoint__keep_last=1)
    del tokens.keys["data.batch_size"]  # The two keys contradict each other.
    yield dataclasses.replace(tokens, deck="base.in")
    yield one("sgd, constant, no clip", optimizer__name="sgd", optimizer__lr=0.1,
              schedule__name="constant", train__gradient_clip=0, train__valid_every_steps=2)
    yield one("random ids", 2, SYNTHETIC, zero__stage=1)
    yield one("decode greedy", 1, TRAINED)
    yield one("decode beam 4", 1, TRAINED, decode__beam=4, decode__length_penalty=0.6)
    nodes = one("pretended nodes", 4, zero__stage=3, comm__overlap="on")
    yield dataclasses.replace(nodes, variables=(("TH_FAKE_NODES", "2,2"),))


def on_gpus():
    """Trainings on the stand-in GPU; its sums have a GPU's order, or that of the CPU."""
    sums = (("TH_FAKE_GPU_SUMS", "cpu"),)
    offload = {**GPU, "zero.offload_optimizer": "true"}
    for dtype, stage in itertools.product(("fp32", "bf16"), range(4)):
        keys = {**offload, "zero.stage": stage, "precision.dtype": dtype}
        yield Training(f"gpu {dtype}, stage {stage}, offload", 2, keys, gpus=2)
    both = {**offload, "zero.stage": 3, "zero.offload_parameters": "true"}
    yield Training("gpu, parameters offloaded too", 2, both, gpus=2, variables=sums)
    plain = {**GPU, "zero.stage": 2, "comm.backend": "mpi", "precision.dtype": "fp16"}
    yield Training("gpu fp16 over mpi, no offload", 3, plain, gpus=1, variables=sums)


class Bench:
    """Both builds, the folder of the runs, and how to run a program of either."""

    def __init__(self, base, new, work, steps):
        self.base, self.new = Build("base", base), Build("new", new)
        self.work, self.steps = work, steps
        script = f'. "{ROOT}/tools/run_env.sh" && env -0'
        text = subprocess.run(["bash", "-c", script], check=True, stdout=subprocess.PIPE, text=True)
        known = (pair.split("=", 1) for pair in text.stdout.split("\0") if "=" in pair)
        self.environment = {k: v for k, v in known if not k.startswith("TH_")}
        self.data = work / "data"
        self.data.mkdir(parents=True)
        for name in TEXTS.values():
            lines = (INPUTS / "data" / name).read_text().splitlines(keepends=True)
            (self.data / name).write_text("".join(lines[:LINES[name.split(".")[1]]]))

    def both(self, task):
        """task(build) of the two builds at once: (base's result, new's)."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(task, (self.base, self.new)))

    def run(self, build, words, folder, training=None):
        """Standard output of the program words[0] in the folder, as the training launches it."""
        launcher, variables = [], dict(training.variables if training else ())
        if training:  # Two mpirun that share a folder of sessions can take it from each other.
            launcher = ["mpirun", "-np", str(training.ranks)]
            variables.update(TH_CUDA_PLUGIN=str(build.folder / "fake_cuda"),
                             TH_FAKE_GPUS=str(training.gpus),
                             OMPI_MCA_orte_tmpdir_base=str(self.work / "mpi" / build.role))
        command = [*launcher, str(build.folder / "bin" / words[0]), *map(str, words[1:])]
        folder.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(command, cwd=folder, env={**self.environment, **variables},
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            raise Difference(f"{build.role}: {words[0]}: no end within {LIMIT_S} s") from None
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip("-\n").splitlines() or ["no message"]
            error = next((line for line in said if line.startswith("error")), " ".join(said[:9]))
            raise Difference(f"{build.role}: {words[0]}: exit code {done.returncode}: {error}")
        return done.stdout

    def train(self, build, training, folder, **keys):
        """Runs the training with all output in folder/out, and returns that folder."""
        keys = {"run.device": "cpu", "run.output_dir": "out", "decode.max_length": 12,
                "comm.timeout_seconds": LIMIT_S / 2,
                **{key: self.data / name for key, name in TEXTS.items()},
                "train.max_steps": self.steps, "checkpoint.every_steps": self.steps // 2,
                **training.keys, **keys, **dict(build.changed)}
        words = [INPUTS / training.deck, *(f"{key}={value}" for key, value in keys.items())]
        self.run(build, ["th_app", *words], folder, training)
        return folder / "out"

    def folder(self, name, build):
        return self.work / re.sub(r"[^a-z0-9.=]+", "_", name) / build.role

    @functools.cached_property
    def trained(self):
        """A run of BASE's whose checkpoint translates."""
        training = Training("trained", 1, TRAINED)
        return self.train(self.base, training, self.folder(training.name, self.base))


def compare_texts(what, base, new):
    """Raises the first line that differs."""
    pairs = itertools.zip_longest(base.split("\n"), new.split("\n"), fillvalue="(no line)")
    for number, (left, right) in enumerate(pairs, 1):
        if left != right:
            raise Difference(f"{what}, line {number}: {left!r} (base), {right!r} (new)")


def compare_metrics(base, new):
    """Raises the first field that differs between two metrics.jsonl; numbers stay text."""
    def records(out):
        lines = (out / "metrics.jsonl").read_text().splitlines()
        found = [json.loads(line, parse_float=str, parse_int=str) for line in lines]
        for record in found:  # The texts that ranks exchange hold paths and numbers of processes.
            rows = record.get("traffic", [])
            rows[:] = [row for row in rows if row["collective"] != "control"]
        return found

    pairs = itertools.zip_longest(records(base), records(new), fillvalue={})
    for number, (left, right) in enumerate(pairs, 1):
        for field in [field for field in {**left, **right} if field not in UNCOMPARED]:
            a, b = (record.get(field, "(absent)") for record in (left, right))
            if a != b:
                place = f"line {number} ({left.get('kind')} {left.get('step', '')})"
                raise Difference(f"metrics.jsonl, {place}: {field} is {a} (base), {b} (new)")


def compare_translations(base, new):
    paths = [out / "test.hyp" for out in (base, new)]
    compare_texts("test.hyp", *(path.read_text() if path.exists() else "none" for path in paths))


def compare_checkpoints(bench, base, new):
    """Raises the first tensor that differs; parameters and optimizer states are compared."""
    names = [sorted(path.name for path in out.glob("checkpoints/step_*")) for out in (base, new)]
    compare_texts("names of checkpoints", *map("\n".join, names))
    for name in names[0]:
        folders = [out / "checkpoints" / name for out in (base, new)]
        said = bench.run(bench.new, ["th_inspect", "diff", *folders], bench.work)
        if not re.search(r": [1-9]\d* tensors compared, the same$", said.strip()):
            raise Difference(f"th_inspect diff does not say that {name} is the same: {said}")


def compare_runs(bench, outs):
    """Raises the first difference between base's and new's folder of output."""
    compare_metrics(*outs)
    compare_translations(*outs)
    compare_checkpoints(bench, *outs)


def case_of(training):
    def case(bench):
        name = training.name
        compare_runs(bench, bench.both(lambda b: bench.train(b, training, bench.folder(name, b))))
    return training.name, case


def later_case(name, first, then):
    """BASE trains half of the steps; both builds go on from its checkpoint."""
    def case(bench):
        base, new = (bench.folder(name, build) for build in (bench.base, bench.new))
        bench.train(bench.base, first, base, **{"train.max_steps": bench.steps // 2})
        shutil.copytree(base, new, symlinks=True)
        compare_runs(bench, bench.both(lambda b: bench.train(b, then, bench.folder(name, b))))
    return name, case


def later():
    """Trainings by both builds that begin with a checkpoint of BASE's."""
    resume = {"checkpoint.resume": "latest"}
    fp16 = {**SMALL, "precision.dtype": "fp16", "precision.loss_scale_window": 2}
    first = {**SMALL, "run.output_dir": "first"}
    for name, keys, ranks, more in (
            ("resume", SMALL, 3, resume), ("resume, fp16", fp16, 3, resume),
            ("resume, other ranks and stage", SMALL, 2, {**resume, "zero.stage": 3}),
            ("start from parameters", first, 2,
             {"checkpoint.init_from": "first", "run.output_dir": "out"})):
        yield later_case(name, Training("", 3, keys), Training("", ranks, {**keys, **more}))


def text_case(name, words_of, masks=()):
    """Both builds run words_of(bench); what they print is the same but for the masked parts."""
    def case(bench):
        words = words_of(bench)
        texts = bench.both(lambda build: bench.run(build, words, bench.folder(name, build)))
        for mask in masks:
            texts = [re.sub(mask, "(measured)", text) for text in texts]
        compare_texts("output", *texts)
        folders = [bench.folder(name, build) for build in (bench.base, bench.new)]
        if not texts[0] and not any(folders[0].iterdir()):
            raise Difference("no output")
        done = subprocess.run(["diff", "-rq", *folders], capture_output=True, text=True)
        compare_texts("diff -rq", "", done.stdout + done.stderr)
    return name, case


def texts():
    """Cases of what programs print and write without a training."""
    source, target = INPUTS / "data" / "numbers.test.en", INPUTS / "data" / "numbers.test.fr"
    corpus = ("th_corpus", "numbers", "--pairs", 300, "--seed", 7, "--output", "corpus")

    def of_trained(name, program, *words):
        return text_case(name, lambda bench: [
            program, *(bench.trained if word == "CHECKPOINT" else word for word in words)])

    def of_deck(name, deck, *words):
        return text_case(name, lambda bench: ["th_app", INPUTS / deck, *words], MEASURED)

    for deck, ranks in (("stage1.in", 3), ("stage2.in", 8), ("stage3.in", 8), ("base.in", 16)):
        yield of_deck(f"plan of {deck}", deck, "--plan", f"--plan.ranks={ranks}")
    yield of_deck("plan of base.in on GPUs", "base.in", "--plan", "--plan.ranks=16", "zero.stage=3",
                  "run.device=cuda", "plan.gpu_gbytes=80", "zero.offload_optimizer=true",
                  "plan.ranks_per_node=8", "plan.link_gbytes=10")
    yield of_deck("check of stage2.in", "stage2.in", "--check", "run.output_dir=/out")
    yield of_trained("translate", "th_translate", "CHECKPOINT", "--input", source)
    yield of_trained("translate, beam 4", "th_translate", "CHECKPOINT", "--input", source,
                     "--beam", 4, "--n-best", 2)
    yield of_trained("score", "th_translate", "CHECKPOINT", "--score", "--input", source,
                     "--target", target)
    yield of_trained("inspect stat", "th_inspect", "stat", "CHECKPOINT", "--json")
    yield of_trained("inspect export", "th_inspect", "export", "CHECKPOINT", "--output", "f.npz")
    yield text_case("corpus", lambda bench: corpus)


def verdict(name, case, bench):
    """Runs a case and prints its line; returns the difference, empty when there is none."""
    difference = ""
    try:
        case(bench)
    except (Difference, OSError, ValueError) as error:
        difference = str(error)
    print(f"DIFFERS {name}: {difference}" if difference else f"same  {name}", flush=True)
    return difference


def self_test(bench):
    """Without a change nothing differs; another seed of NEW's is seen by every comparison."""
    passed = [verdict(*case_of(Training("no change", 2, SMALL)), bench) == ""]
    bench.new = dataclasses.replace(bench.new, changed=(("run.seed", 2),))
    name, case = case_of(Training("another seed", 1, TRAINED))
    passed.append("metrics.jsonl, " in verdict(name, case, bench))
    outs = [bench.folder(name, build) / "out" for build in (bench.base, bench.new)]
    for what, compare in (("test.hyp, line ", lambda _: compare_translations(*outs)),
                          ("largest difference", lambda _: compare_checkpoints(bench, *outs))):
        passed.append(what in verdict(name, compare, bench))
    print("The planted change is found." if all(passed) else "The self-test failed.")
    return 0 if all(passed) else 1


def parse():
    """The words of the command line, with the chosen cases; wrong use ends with exit code 2."""
    parser = argparse.ArgumentParser(usage=__doc__.partition("usage: ")[2].partition("\n\n")[0])
    parser.add_argument("builds", nargs="*", type=Path)
    parser.add_argument("--only", type=re.compile, default=re.compile(""))
    parser.add_argument("--keep", type=Path)
    for flag in ("--quick", "--self-test", "--list"):
        parser.add_argument(flag, action="store_true")
    words = parser.parse_args()
    cases = itertools.chain(map(case_of, variants()), map(case_of, on_gpus()), later(), texts())
    words.cases = [(name, case) for name, case in cases if words.only.search(name)]
    needed = [*(Path("bin") / name for name in PROGRAMS), Path("fake_cuda") / "libth_cuda.so"]
    paths = [str(build / path) for build in words.builds for path in needed]
    missing = ", ".join(path for path in paths if not Path(path).exists())
    for wrong, text in ((not words.cases, f"no case matches {words.only.pattern}"),
                        (len(words.builds) != 2 and not words.list, "two builds are needed"),
                        (missing, f"not there: {missing}"),
                        (words.keep and words.keep.exists() and any(words.keep.iterdir()),
                         f"--keep: {words.keep} is not empty")):
        if wrong:
            parser.error(text)
    return words


def main():
    words = parse()
    if words.list:
        print("\n".join(name for name, _ in words.cases))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # It removes the temporary folder.
    start, same = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="th-compare-builds.") as folder:
        work = (words.keep or Path(folder)).resolve()
        bench = Bench(*(build.resolve() for build in words.builds), work, 6 if words.quick else 20)
        if words.self_test:
            return self_test(bench)
        for name, case in words.cases:
            same.append(not verdict(name, case, bench))
            if not words.keep:
                shutil.rmtree(bench.folder(name, bench.base).parent, ignore_errors=True)
    print(f"{len(same)} cases, {same.count(False)} differ, {time.monotonic() - start:.0f} s")
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
