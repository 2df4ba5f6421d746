"""The schedule of the learning rate of a DeepSpeed configuration."""

CYCLE = {
    "cycle_momentum": "beta1 stays as it is",
    "cycle_min_mom": "beta1 stays as it is",
    "cycle_max_mom": "beta1 stays as it is",
    "decay_mom_rate": "beta1 stays as it is",
    "decay_lr_rate": "the rate stays at its lowest behind the cycle; nearest schedule.min_ratio",
    "decay_step_size": "the rate stays at its lowest behind the cycle; nearest schedule.min_ratio",
    "cycle_first_stair_count": "the rate changes at every step, in no stairs",
    "cycle_second_stair_count": "the rate changes at every step, in no stairs",
}
LAST = {"last_batch_iteration": "a resume takes the step from the checkpoint"}


def set_schedule(top, deck, has_optimizer):
    given = top.section("scheduler")
    kind = given.word("type")
    params = given.section("params")
    if kind is None:
        params.drop()
        if has_optimizer:
            deck.set("schedule.name", "constant", "there is no scheduler in the file")
        else:
            top.report.note(
                "there is neither optimizer nor scheduler: the deck keeps adam with noam, our own"
            )
    elif kind not in KINDS:
        why = f"there is no {kind}; schedule.name = constant is written, nearest cosine or wsd"
        top.report.lost(given.name("type"), why)
        deck.set("schedule.name", "constant", "scheduler.type")
        for key in params.values:
            top.report.lost(params.name(key), f"it is a setting of {kind}")
        params.drop()
    else:
        KINDS[kind](params, deck)
        params.tell_rest({}, {**CYCLE, **LAST})
    given.tell_rest({}, {})


def optimizer_rate(params, deck):
    """optimizer.lr; where there is none, DeepSpeed's usual rate is written."""
    written = deck.get("optimizer.lr")
    if written is not None:
        return float(written)
    if "optimizer.lr" not in deck.given:
        params.report.note("the file has no learning rate: optimizer.lr = 0.001 is written")
    deck.set("optimizer.lr", 1e-3, "the usual one of DeepSpeed's schedules")
    return 1e-3


def highest(params, deck, key):
    """The rate that the schedule rises to, for all tensors: its own, else the optimizer's."""
    rate = params.number(key)
    if rate is None:
        return optimizer_rate(params, deck)
    before = deck.get("optimizer.lr")
    if before is not None and float(before) != rate and "optimizer.lr" not in deck.given:
        text = f"{before} gives way to {params.name(key)} = {rate}, as in DeepSpeed"
        params.report.changed("optimizer.params.lr", text)
    deck.set("optimizer.lr", rate, params.name(key))
    if deck.get("optimizer.name") == "muon":
        deck.set("optimizer.adam_lr", 0, f"{params.name(key)} is the rate of all tensors")
    return rate


def warm_up(params, deck):
    steps = params.whole("warmup_num_steps", 1000)
    deck.set("schedule.warmup_steps", max(2, steps), params.name("warmup_num_steps"))
    shape = params.word("warmup_type", "log")
    return max(2, steps), shape if shape in ("log", "linear") else "log"


def end(params, deck, warmup):
    """total_num_steps; 0: the run's own epochs."""
    total = params.whole("total_num_steps")
    if total is None:
        params.report.problem(params.name("total_num_steps"), "is missing")
        return
    if 0 < total <= warmup:
        text = f"{total} leaves no step behind warmup_num_steps = {warmup}"
        params.report.problem(params.name("total_num_steps"), text)
    deck.set("schedule.total_steps", total, params.name("total_num_steps"))


def set_floor(params, deck, key, ratio):
    if ratio > 1:
        params.report.problem(params.name(key), "is above the highest rate")
    deck.set("schedule.min_ratio", min(1.0, ratio), params.name(key))


def in_a_line(params, warmup, shape, name):
    if shape == "log" and warmup > 2:
        text = f"log: schedule.name = {name} rises in a line; warmup_constant has both shapes"
        params.report.lost(params.name("warmup_type"), text)


def warmup_constant(params, deck):
    deck.set("schedule.name", "warmup_constant", "scheduler.type")
    rate = highest(params, deck, "warmup_max_lr")
    _, shape = warm_up(params, deck)
    deck.set("schedule.warmup_shape", shape, params.name("warmup_type"))
    least = params.number("warmup_min_lr", 0.0)
    if least > rate:
        text = f"{least} is above warmup_max_lr = {rate}"
        params.report.problem(params.name("warmup_min_lr"), text)
    deck.set("schedule.min_lr", least, params.name("warmup_min_lr"))


def warmup_linear(params, deck):
    deck.set("schedule.name", "warmup_linear", "scheduler.type")
    rate = highest(params, deck, "warmup_max_lr")
    warmup, shape = warm_up(params, deck)
    end(params, deck, warmup)
    in_a_line(params, warmup, shape, "warmup_linear")
    least = params.number("warmup_min_lr", 0.0)
    if least > 0 and rate > 0:
        set_floor(params, deck, "warmup_min_lr", least / rate)
        params.report.changed(
            params.name("warmup_min_lr"),
            "schedule.min_ratio has it for the end; the warm-up begins at 0",
        )


def cosine(params, deck):
    deck.set("schedule.name", "cosine", "scheduler.type")
    optimizer_rate(params, deck)
    warmup, shape = warm_up(params, deck)
    end(params, deck, warmup)
    in_a_line(params, warmup, shape, "cosine")
    if params.number("warmup_min_ratio", 0.0) > 0:
        params.report.lost(params.name("warmup_min_ratio"), "the warm-up begins at 0")
    set_floor(params, deck, "cos_min_ratio", params.number("cos_min_ratio", 1e-4))


def one_cycle(params, deck):
    """Up and down in two lines: warmup_linear, whose warm-up begins at 0."""
    deck.set("schedule.name", "warmup_linear", "scheduler.type")
    if "cycle_max_lr" not in params:
        params.report.problem(params.name("cycle_max_lr"), "is missing")
        return
    rate = highest(params, deck, "cycle_max_lr")
    least = params.number("cycle_min_lr", 0.0)
    first = params.whole("cycle_first_step_size", 2000, least=1)
    second = params.whole("cycle_second_step_size", first, least=1)
    deck.set("schedule.warmup_steps", first, params.name("cycle_first_step_size"))
    deck.set("schedule.total_steps", first + second, "both halves of the cycle")
    if least > 0 and rate > 0:
        set_floor(params, deck, "cycle_min_lr", least / rate)
        params.report.changed(
            params.name("cycle_min_lr"), "schedule.min_ratio has it for the end; the rise is from 0"
        )
    if params.flag("cycle_momentum", True):
        params.report.lost(params.name("cycle_momentum"), CYCLE["cycle_momentum"])


KINDS = {
    "WarmupLR": warmup_constant,
    "WarmupDecayLR": warmup_linear,
    "WarmupCosineLR": cosine,
    "OneCycle": one_cycle,
}
