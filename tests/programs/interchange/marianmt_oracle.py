"""Small MarianMT models of the library transformers with random parameters: its folders of files,
and what it computes of ids. As marian_oracle.Marian with these differences: frequencies are
10000^(-2i / width), norms have an epsilon of 1e-5, padding is the last token, has a row and counts
in the softmax, and decoding begins with the embedding of decoder_start_token_id."""

import json

import marian_oracle
import numpy
import safetensors.numpy

CONFIGURATION = {
    "model_type": "marian",
    "architectures": ["MarianMTModel"],
    "activation_function": "swish",
    "scale_embedding": True,
    "share_encoder_decoder_embeddings": True,
    "tie_word_embeddings": True,
    "static_position_embeddings": True,
    "normalize_before": False,
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
}
LINEARS = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "out_proj"}


class Marianmt(marian_oracle.Marian):
    epsilon = 1e-5

    def __init__(self, size, start_row=False, **options):
        super().__init__(size, size, tied_embeddings_all=True, **options)
        self.pad = size - 1
        self.arrays["Wemb"][self.pad] = 0
        if start_row:
            self.arrays["Wemb"][self.pad] = self.matrix(1, self.width)[0]
        o = self.options
        self.configuration = {
            **CONFIGURATION,
            "d_model": o["dim-emb"],
            "encoder_attention_heads": o["transformer-heads"],
            "decoder_attention_heads": o["transformer-heads"],
            "encoder_ffn_dim": o["transformer-dim-ffn"],
            "decoder_ffn_dim": o["transformer-dim-ffn"],
            "encoder_layers": o["enc-depth"],
            "decoder_layers": o["dec-depth"],
            "vocab_size": size,
            "pad_token_id": self.pad,
            "eos_token_id": 0,
            "decoder_start_token_id": self.pad,
        }

    def frequencies(self):
        return 10000.0 ** (-2 * numpy.arange(self.width // 2) / self.width)

    def begin(self):
        return self.arrays["Wemb"][[self.pad]].astype("f8")

    def tensors(self):
        """By transformers' names."""
        a = self.arrays
        out = {
            "model.shared.weight": a["Wemb"],
            "final_logits_bias": a["decoder_ff_logit_out_b"],
        }

        def add(name, weight, bias):
            out[name + ".weight"], out[name + ".bias"] = weight, bias[0]

        for side, depth in (("encoder", "enc-depth"), ("decoder", "dec-depth")):
            for layer in range(self.options[depth]):
                ours, theirs = f"{side}_l{layer + 1}", f"model.{side}.layers.{layer}."
                kinds = {"self": "self_attn", "context": "encoder_attn"}
                if side == "encoder":
                    del kinds["context"]
                for kind, named in kinds.items():
                    for letter, linear in LINEARS.items():
                        name = f"{ours}_{kind}"
                        add(
                            f"{theirs}{named}.{linear}",
                            a[f"{name}_W{letter}"].T,
                            a[f"{name}_b{letter}"],
                        )
                    norm = f"{ours}_{kind}_Wo_ln_"
                    add(f"{theirs}{named}_layer_norm", a[norm + "scale"][0], a[norm + "bias"])
                for number in "12":
                    ffn = f"{ours}_ffn_"
                    add(f"{theirs}fc{number}", a[f"{ffn}W{number}"].T, a[f"{ffn}b{number}"])
                norm = f"{ours}_ffn_ffn_ln_"
                add(f"{theirs}final_layer_norm", a[norm + "scale"][0], a[norm + "bias"])
        return {name: numpy.ascontiguousarray(x, "f4") for name, x in out.items()}

    def write(self, folder, tensors=None, **configuration):
        folder.mkdir(exist_ok=True)
        whole = {**self.configuration, **configuration}
        (folder / "config.json").write_text(json.dumps(whole, indent=2))
        safetensors.numpy.save_file(
            tensors or self.tensors(), folder / "model.safetensors", {"format": "pt"}
        )
