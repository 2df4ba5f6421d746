"""A DeepSpeed configuration as a deck: section by section, then what is left is named."""

from . import tables
from .batch import set_batch
from .deck import Deck
from .schedule import set_schedule
from .sharding import set_precision, set_zero
from .source import ConfigError, Report, Section
from .training import set_optimizer


def set_monitors(top, deck):
    board, flops = top.section("tensorboard"), top.section("flops_profiler")
    if "enabled" in board:
        deck.set("monitor.tensorboard", board.flag("enabled"), board.name("enabled"))
    if not flops.flag("enabled"):
        flops.drop()
    else:
        text = "profile.enabled = true is written: a Chrome trace; --plan counts operations"
        top.report.changed(flops.name("enabled"), text)
        deck.set("profile.enabled", True, flops.name("enabled"))
        first = flops.whole("profile_step", 1, least=1)
        deck.set("profile.first_step", first, flops.name("profile_step"))
        deck.set("profile.steps", 1, "the flops profiler measures one step")
    board.tell_rest({}, tables.TENSORBOARD)
    flops.tell_rest({}, tables.FLOPS)
    steps = top.take("steps_per_print")
    if isinstance(steps, (int, float)) and not isinstance(steps, bool) and steps > 1e15:
        return  # never, as Hugging Face's Accelerate writes it
    steps = top.whole("steps_per_print")
    if steps:
        deck.set("monitor.log_every_steps", steps, "steps_per_print")


def set_data(deck):
    """The corpus, which DeepSpeed's configuration knows nothing of."""
    given = deck.given
    if any(key in given for key in ("data.train_source", "data.synthetic")):
        return
    deck.report.note("data.train_source and data.train_target stand for the files of your corpus")
    deck.set("data.train_source", "train.source", "your corpus, one sentence a line")
    if given.get("data.format") != "tsv":
        deck.set("data.train_target", "train.target", "its translation, line by line")


def convert(values, name, given, ranks):
    """(deck's text, lines for standard error). `values`: the configuration; `name`: its file's;
    `given`: {key: text} for the deck; `ranks`: the rank count or None. Throws ConfigError."""
    report = Report(name)
    top = Section(report, given, values)
    deck = Deck(report, given)
    set_data(deck)
    ranks = set_batch(top, deck, ranks)
    clip = top.number("gradient_clipping", 0.0)
    origin = "gradient_clipping" if "gradient_clipping" in top else "DeepSpeed clips nothing then"
    deck.set("train.gradient_clip", clip, origin)
    set_schedule(top, deck, set_optimizer(top, deck))
    set_precision(top, deck)
    set_zero(top, deck)
    set_monitors(top, deck)
    top.section("activation_checkpointing").tell_rest({}, tables.CHECKPOINTING)
    top.section("checkpoint").tell_rest({}, tables.SAVING)
    top.tell_rest({}, tables.TOP, tables.TOP_IDLE)
    if report.problems:
        raise ConfigError("\n".join(report.problems))
    return deck.text(head(name, ranks)), [*report.lines, report.summary()]


def head(name, ranks):
    start = f"mpirun -np {ranks or 'N'} th_app DECK"
    model = "the model is th_app's default"
    return [f"Made by tools/deepspeed2deck.py from {name}", f"{start}; {model}"]
