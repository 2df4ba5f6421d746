"""CTranslate2's models read back: model.bin by its layout alone, and what CTranslate2 itself says
of them where a Python here has it (TH_CTRANSLATE2_PYTHON, benchmarks/peers/.venv-ctranslate2, or
ct2env beside the sources)."""

import json
import os
import struct
import subprocess

import numpy
import th_run

TYPES = ("<f4", "<i1", "<i2", "<i4", "<f2", "<u2")  # the last is bfloat16's bits
VERSION = 6

BEAMS = (1, 4)

ANSWERS = """
import json, sys, ctranslate2
asked = json.load(sys.stdin)
translator = ctranslate2.Translator(
    asked["model"], device="cpu", compute_type="float32", inter_threads=1, intra_threads=1)
scored = translator.score_batch(asked["source"], asked["target"])
out = {"scores": [sum(one.log_probs) for one in scored]}
for beam in asked["beams"]:
    found = translator.translate_batch(
        asked["source"], beam_size=beam, length_penalty=0, min_decoding_length=0,
        max_decoding_length=asked["longest"])
    out[str(beam)] = [one.hypotheses[0] for one in found]
json.dump(out, sys.stdout)
"""


def read(path):
    """(specification, revision, {name: array}, {alias: name}) of a model.bin."""
    data = path.read_bytes()
    at = 0

    def take(form):
        nonlocal at
        values = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def text():
        nonlocal at
        length = take("H")
        content = data[at : at + length]
        at += length
        assert content[-1:] == b"\0", content
        return content[:-1].decode()

    assert take("I") == VERSION
    specification, revision = text(), take("I")
    variables = {}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        kind, size = TYPES[take("B")], take("I")
        assert size == numpy.dtype(kind).itemsize * int(numpy.prod(shape)), name
        variables[name] = numpy.frombuffer(data[at : at + size], kind).reshape(shape)
        at += size
    aliases = {text(): text() for _ in range(take("I"))}
    assert at == len(data)
    return specification, revision, variables, aliases


def python_with_ctranslate2():
    """None: there is none."""
    candidates = [
        os.environ.get("TH_CTRANSLATE2_PYTHON"),
        th_run.SOURCE / "benchmarks" / "peers" / ".venv-ctranslate2" / "bin" / "python",
        *(folder / "ct2env" / "bin" / "python" for folder in th_run.SOURCE.parents),
    ]
    for python in filter(None, candidates):
        if not os.path.exists(python):
            continue
        if subprocess.run([python, "-c", "import ctranslate2"], check=False).returncode == 0:
            return str(python)
    return None


def answers(python, model, source, target, longest):
    """What CTranslate2 says of lists of tokens: sums of log p of the targets (`scores`), and its
    translations by each of BEAMS."""
    asked = {"model": str(model), "source": source, "target": target}
    asked.update(beams=BEAMS, longest=longest)
    done = subprocess.run(
        [python, "-c", ANSWERS],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout)
