"""Small transformers of Marian with random parameters, and what Marian computes of them: arrays and
configuration as its npz files have them, log p by numpy alone, one sentence after the other.

Marian's matrices are [inputs, outputs]; positions are a half of sines and a half of cosines with
the frequencies 10000^(-i / (width / 2 - 1)) from place 0; decoding begins with a vector of zeros,
which gets its position; </s> is 0 and <unk> 1; norms have an epsilon of 1e-6.
"""

import numpy

OPTIONS = {
    "type": "transformer",
    "dim-emb": 16,
    "transformer-heads": 4,
    "transformer-dim-ffn": 24,
    "enc-depth": 2,
    "dec-depth": 2,
    "transformer-ffn-activation": "swish",
    "transformer-preprocess": "",
    "transformer-postprocess": "dan",
    "transformer-postprocess-emb": "d",
    "transformer-postprocess-top": "",
    "transformer-decoder-autoreg": "self-attention",
    "transformer-ffn-depth": 2,
    "transformer-no-projection": False,
    "tied-embeddings": False,
    "tied-embeddings-src": False,
    "tied-embeddings-all": False,
    "output-omit-bias": False,
    "right-left": False,
    "version": "v1.12.42 b7be0e964 2025-05-24 22:34:42 -0700",
}


def shared_folder(source):
    """The folder of models beside the sources, or beside a folder around them; None: not here."""
    for folder in (source, *source.parents):
        if (folder.parent / "shared" / "marian").is_dir():
            return folder.parent / "shared" / "marian"
    return None


def configuration(options):
    """special:model.yml, as bytes."""

    def value(x):
        if isinstance(x, bool):
            return str(x).lower()
        return '""' if x == "" else str(x)

    lines = [f"{key}: {value(x)}" for key, x in options.items()]
    lines += ["transformer-tied-layers:", "  []", "dim-vocabs:", "  - 7", "  - 7"]
    return numpy.frombuffer(("\n".join(lines) + "\n").encode() + b"\0", numpy.int8)


class Marian:
    """A model: `arrays` by Marian's names."""

    epsilon = 1e-6

    def __init__(self, source_size, target_size, seed=1, old_output=False, **options):
        self.options = {**OPTIONS, **{key.replace("_", "-"): x for key, x in options.items()}}
        self.random = numpy.random.default_rng(seed)
        self.arrays = {}
        o = self.options
        self.width, self.heads = o["dim-emb"], o["transformer-heads"]
        self.before = "n" in o["transformer-preprocess"]
        self.shared = o["tied-embeddings-all"] or o["tied-embeddings-src"]
        self.tied_output = o["tied-embeddings-all"] or o["tied-embeddings"]
        for name, size in (("encoder", source_size), ("decoder", target_size)):
            self.arrays["Wemb" if self.shared else f"{name}_Wemb"] = self.matrix(size, self.width)
        for side, depth in (("encoder", o["enc-depth"]), ("decoder", o["dec-depth"])):
            for layer in range(1, depth + 1):
                self.add_attention(f"{side}_l{layer}_self")
                if side == "decoder":
                    self.add_attention(f"{side}_l{layer}_context")
                self.add_feed_forward(f"{side}_l{layer}_ffn")
            if "n" in o["transformer-postprocess-top"]:
                self.add_norm(f"{side}_top", "")
            if "n" in o["transformer-postprocess-emb"]:
                self.add_norm(f"{side}_emb", "_pre")
        if not self.tied_output:
            rows = self.matrix(target_size, self.width)
            name = "decoder_ff_logit_out_W"
            self.arrays.update({name: rows.T.copy()} if old_output else {name + "t": rows})
        if not o["output-omit-bias"]:
            self.arrays["decoder_ff_logit_out_b"] = self.matrix(1, target_size)

    def matrix(self, rows, columns):
        return self.random.normal(0, 1 / numpy.sqrt(columns), (rows, columns)).astype("f4")

    def add_norm(self, name, suffix):
        self.arrays[f"{name}_ln_scale{suffix}"] = 1 + 0.2 * self.matrix(1, self.width)
        self.arrays[f"{name}_ln_bias{suffix}"] = 0.2 * self.matrix(1, self.width)

    def add_attention(self, name):
        for letter in "qkvo":
            self.arrays[f"{name}_W{letter}"] = self.matrix(self.width, self.width) * 2
            self.arrays[f"{name}_b{letter}"] = self.matrix(1, self.width)
        self.add_norm(f"{name}_Wo", "_pre" if self.before else "")

    def add_feed_forward(self, name):
        inner = self.options["transformer-dim-ffn"]
        self.arrays[f"{name}_W1"] = self.matrix(self.width, inner) * 2
        self.arrays[f"{name}_b1"] = self.matrix(1, inner)
        self.arrays[f"{name}_W2"] = self.matrix(inner, self.width) * 2
        self.arrays[f"{name}_b2"] = self.matrix(1, self.width)
        self.add_norm(f"{name}_ffn", "_pre" if self.before else "")

    def save(self, path, compressed=False):
        arrays = {**self.arrays, "special:model.yml": configuration(self.options)}
        (numpy.savez_compressed if compressed else numpy.savez)(path, **arrays)

    def norm(self, x, name, suffix=""):
        y = x - x.mean(-1, keepdims=True)
        y /= numpy.sqrt((y * y).mean(-1, keepdims=True) + self.epsilon)
        return y * self.arrays[f"{name}_ln_scale{suffix}"] + self.arrays[f"{name}_ln_bias{suffix}"]

    def sublayer(self, x, name, work):
        if self.before:
            return x + work(self.norm(x, name, "_pre"))
        return self.norm(x + work(x), name)

    def linear(self, x, name, letter):
        return x @ self.arrays[f"{name}_W{letter}"] + self.arrays[f"{name}_b{letter}"]

    def attention(self, name, queries, memory, causal):
        head = self.width // self.heads

        def split(x):
            return x.reshape(len(x), self.heads, head).swapaxes(0, 1)

        q, k, v = (
            split(self.linear(x, name, letter))
            for letter, x in (("q", queries), ("k", memory), ("v", memory))
        )
        scores = q @ k.swapaxes(1, 2) / numpy.sqrt(head)
        if causal:
            hidden = numpy.triu(numpy.ones(scores.shape[1:], bool), 1)
            scores = numpy.where(hidden, -numpy.inf, scores)
        weights = numpy.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return self.linear((weights @ v).swapaxes(0, 1).reshape(len(queries), -1), name, "o")

    def feed_forward(self, name, x):
        inner = self.linear(x, name, "1")
        relu = self.options["transformer-ffn-activation"] == "relu"
        inner = numpy.maximum(inner, 0) if relu else inner / (1 + numpy.exp(-inner))
        return self.linear(inner, name, "2")

    def frequencies(self):
        half = self.width // 2
        return 10000.0 ** (-numpy.arange(half) / (half - 1))

    def begin(self):
        return numpy.zeros((1, self.width))

    def embed(self, rows, side):
        angles = numpy.arange(len(rows))[:, None] * self.frequencies()
        places = numpy.concatenate([numpy.sin(angles), numpy.cos(angles)], axis=1)
        x = rows * numpy.sqrt(self.width) + places
        normed = "n" in self.options["transformer-postprocess-emb"]
        return self.norm(x, f"{side}_emb", "_pre") if normed else x

    def stack(self, side, x, memory=None):
        for layer in range(1, self.options["enc-depth" if memory is None else "dec-depth"] + 1):
            name = f"{side}_l{layer}"
            own = f"{name}_self"
            x = self.sublayer(
                x, own + "_Wo", lambda y: self.attention(own, y, y, memory is not None)
            )
            if memory is not None:
                cross = f"{name}_context"
                x = self.sublayer(
                    x, cross + "_Wo", lambda y: self.attention(cross, y, memory, False)
                )
            ffn = f"{name}_ffn"
            x = self.sublayer(x, ffn + "_ffn", lambda y: self.feed_forward(ffn, y))
        return (
            self.norm(x, f"{side}_top") if "n" in self.options["transformer-postprocess-top"] else x
        )

    def table(self, side):
        return self.arrays["Wemb" if self.shared else f"{side}_Wemb"].astype("f8")

    def log_probabilities(self, source, target):
        """[len(target), target vocabulary] of ids with </s>: of what stands at each place."""
        memory = self.stack("encoder", self.embed(self.table("encoder")[source], "encoder"))
        rows = numpy.concatenate([self.begin(), self.table("decoder")[target[:-1]]])
        x = self.stack("decoder", self.embed(rows, "decoder"), memory)
        name = "decoder_ff_logit_out_"
        if self.tied_output:
            logits = x @ self.table("decoder").T
        elif name + "W" in self.arrays:
            logits = x @ self.arrays[name + "W"]
        else:
            logits = x @ self.arrays[name + "Wt"].T
        logits = logits + self.arrays.get(name + "b", 0)
        logits -= logits.max(-1, keepdims=True)
        return logits - numpy.log(numpy.exp(logits).sum(-1, keepdims=True))

    def score(self, source, target):
        rows = self.log_probabilities(source, target)
        return rows[numpy.arange(len(target)), target].sum()

    def translate(self, source, longest):
        """Greedy: ids without </s>."""
        target = []
        while len(target) < longest:
            best = int(self.log_probabilities(source, target + [0])[-1].argmax())
            if best == 0:
                break
            target.append(best)
        return target
