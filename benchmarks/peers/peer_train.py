#!/usr/bin/env python3
"""Trains the model of inputs/benchmark.in with another engine on the CPU and prints one JSON line.
run_peers.py calls it below torchrun.

The model is made of torch.nn's own encoder and decoder layers, as a PyTorch user would write it:
pre norm, sinusoidal positions, Adam, gradients clipped at 1, cross entropy without padding, random
ids of a fixed shape drawn anew for each step. Every engine does the same arithmetic. Reported:
source and decoder-input tokens of all ranks a second over the timed steps, the peak resident set of
the largest rank, the last loss.
"""

import argparse
import json
import math
import resource
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.checkpoint import checkpoint

ADAM = {"lr": 1e-4, "betas": (0.9, 0.98), "eps": 1e-9}


def make_parser(description):
    """The model's and the measurement's size; the defaults are those of inputs/benchmark.in."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--d-model", type=int, default=512)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--layers", type=int, default=6, help="of encoder and of decoder")
    parser.add_argument("--d-ff", type=int, default=2048)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--vocabulary", type=int, default=10000)
    parser.add_argument("--batch", type=int, default=16, help="sentences a rank")
    parser.add_argument("--length", type=int, default=32, help="ids of a sentence, each way")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument(
        "--checkpoint", action="store_true", help="gradient checkpointing of every layer"
    )
    return parser


def arguments():
    parser = make_parser(__doc__)
    parser.add_argument(
        "--engine", choices=("ddp", "fsdp2", "zero1", "zero2", "zero3"), default="ddp"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--bf16", action="store_true", help="autocast to bfloat16 (DeepSpeed: its own bf16 mode)"
    )
    parser.add_argument(
        "--step-times", help="file to which rank 0 adds a record of each timed step, in JSON lines"
    )
    parser.add_argument("--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


class Seq2Seq(nn.Module):
    """Token ids [B, S] and [B, T] to logits [B, T, V]."""

    def __init__(self, options):
        super().__init__()
        self.width, self.recompute = options.d_model, options.checkpoint
        layer = {
            "d_model": options.d_model,
            "nhead": options.heads,
            "dim_feedforward": options.d_ff,
            "dropout": options.dropout,
            "batch_first": True,
            "norm_first": True,
        }
        self.source_embedding = nn.Embedding(options.vocabulary, options.d_model)
        self.target_embedding = nn.Embedding(options.vocabulary, options.d_model)
        self.encoder = nn.ModuleList(
            nn.TransformerEncoderLayer(**layer) for _ in range(options.layers)
        )
        self.decoder = nn.ModuleList(
            nn.TransformerDecoderLayer(**layer) for _ in range(options.layers)
        )
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(options.d_model), nn.LayerNorm(
            options.d_model
        )
        self.output = nn.Linear(options.d_model, options.vocabulary)
        self.dropout = nn.Dropout(options.dropout)
        self.register_buffer("positions", sinusoids(options.length, options.d_model))
        self.register_buffer(
            "causal", nn.Transformer.generate_square_subsequent_mask(options.length)
        )

    def embed(self, table, ids):
        return self.dropout(table(ids) * math.sqrt(self.width) + self.positions[: ids.size(1)])

    def layer(self, function, *inputs):
        return (
            checkpoint(function, *inputs, use_reentrant=False)
            if self.recompute
            else function(*inputs)
        )

    def forward(self, source, target):
        memory = self.embed(self.source_embedding, source)
        for block in self.encoder:
            memory = self.layer(block, memory)
        memory = self.encoder_norm(memory)
        x = self.embed(self.target_embedding, target)
        for block in self.decoder:
            x = self.layer(
                lambda q, m, block=block: block(q, m, tgt_mask=self.causal, tgt_is_causal=True),
                x,
                memory,
            )
        return self.output(self.decoder_norm(x))


def sinusoids(length, width):
    """Vaswani et al. 2017, 3.5, interleaved: [length, width]."""
    angle = torch.arange(float(length))[:, None] * torch.exp(
        torch.arange(0.0, width, 2) * (-math.log(10000.0) / width)
    )
    return torch.stack((angle.sin(), angle.cos()), dim=2).reshape(length, width)


class TorchEngine:
    """DDP or FSDP2 with an optimizer of torch."""

    def __init__(self, options, model):
        dist.init_process_group("gloo")
        self.bf16 = options.bf16
        if options.engine == "ddp":
            self.model = nn.parallel.DistributedDataParallel(model)
            self.optimizer = torch.optim.Adam(model.parameters(), fused=True, **ADAM)
            return
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for block in (*model.encoder, *model.decoder):
            fully_shard(block, mesh=mesh)
        self.model = fully_shard(model, mesh=mesh)
        self.optimizer = torch.optim.Adam(model.parameters(), **ADAM)

    def step(self, loss_of):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = loss_of(self.model)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()


class DeepSpeedEngine:
    """DeepSpeed's ZeRO stages."""

    def __init__(self, options, model):
        import deepspeed

        deepspeed.init_distributed("gloo")
        settings = {
            "train_micro_batch_size_per_gpu": options.batch,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": 1.0,
            "zero_optimization": {
                "stage": int(options.engine[4:]),
                "overlap_comm": False,
                "contiguous_gradients": True,
            },
            "zero_allow_untested_optimizer": True,
            "bf16": {"enabled": options.bf16},
        }
        self.model = deepspeed.initialize(
            model=model, optimizer=torch.optim.Adam(model.parameters(), **ADAM), config=settings
        )[0]

    def step(self, loss_of):
        loss = loss_of(self.model)
        self.model.backward(loss)
        self.model.step()
        return loss.item()


def make_step(options, engine):
    """A function that makes one training step on random ids and returns its loss."""
    generator = torch.Generator().manual_seed(100 + dist.get_rank())
    cross_entropy = nn.CrossEntropyLoss(ignore_index=0)

    def ids(length):
        return torch.randint(1, options.vocabulary, (options.batch, length), generator=generator)

    def step():
        source, target = ids(options.length), ids(options.length + 1)

        def loss_of(network):
            logits = network(source, target[:, :-1])
            return cross_entropy(
                logits.reshape(-1, options.vocabulary).float(), target[:, 1:].reshape(-1)
            )

        return engine.step(loss_of)

    return step


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = Seq2Seq(options)
    parameters = sum(p.numel() for p in model.parameters())
    engine = (DeepSpeedEngine if options.engine.startswith("zero") else TorchEngine)(options, model)
    engine.model.train()
    rank, ranks = dist.get_rank(), dist.get_world_size()
    step = make_step(options, engine)
    for _ in range(options.warmup):
        step()
    dist.barrier()
    start = before = time.perf_counter()
    for _ in range(options.steps):
        loss = step()
        if options.step_times and rank == 0:
            now = time.perf_counter()
            with open(options.step_times, "a", encoding="utf-8") as out:
                out.write(json.dumps({"kind": "step", "seconds": now - before}) + "\n")
            before = now
    dist.barrier()
    seconds = time.perf_counter() - start
    peak = torch.tensor(
        [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0], dtype=torch.float64
    )
    dist.all_reduce(peak, dist.ReduceOp.MAX)
    if rank == 0:
        tokens = options.steps * ranks * options.batch * options.length * 2
        result = {
            "engine": options.engine,
            "ranks": ranks,
            "parameters": parameters,
            "tokens_per_second": tokens / seconds,
            "peak_rss_bytes": int(peak.item()),
            "loss": loss,
        }
        print(json.dumps(result), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
