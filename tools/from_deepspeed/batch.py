"""The three sizes of a batch, which DeepSpeed derives from each other and from the rank count."""

import math

MICRO, STEPS = "train_micro_batch_size_per_gpu", "gradient_accumulation_steps"


def check_product(report, total, factors):
    """`factors`: the known ones of {name: number}; all three of them make the whole batch."""
    product = math.prod(factors.values())
    every = len(factors) == 3
    if total == product or not every and total % product == 0:
        return
    parts = " * ".join(f"{name} = {number}" for name, number in factors.items())
    relation = "is not" if every else "is no multiple of"
    made = f", which is {product}" if len(factors) > 1 else ""
    report.problem("train_batch_size", f"{total} {relation} {parts}{made}")


def set_batch(top, deck, ranks):
    """data.batch_size and train.micro_batches; returns the rank count that they are for, or None
    where any will do."""
    total, micro, steps = (
        top.whole(key, least=1) for key in ("train_batch_size", MICRO, STEPS)
    )
    known = {MICRO: micro, STEPS: steps, "ranks": ranks}
    factors = {name: number for name, number in known.items() if number is not None}
    if total is not None:
        check_product(top.report, total, factors)
    if total is not None and micro is not None:
        slots = total // micro
        ranks = ranks or (slots // steps if steps else None)
    else:
        slots = (steps or 1) * (ranks or 1)
        if ranks is None and (total is not None or slots > 1):
            what = f"train_batch_size = {total}" if total else f"{STEPS} = {steps}"
            top.report.note(f"{what} is reckoned for 1 rank; --ranks N reckons for N")
            ranks = 1
        elif ranks is None:
            slots = None  # as many as the run has ranks, which is our default
        micro = total // slots if total is not None else micro
    write(deck, micro, slots)
    return ranks


def write(deck, micro, slots):
    if "data.batch_tokens" in deck.given:
        pass
    elif micro is not None:
        deck.set("data.batch_size", micro, MICRO)
    elif "data.batch_size" not in deck.given:
        deck.report.note("the file has no batch size: the deck keeps data.batch_size = 32")
    if slots is not None:
        deck.set("train.micro_batches", slots, f"{STEPS} * ranks")
