"""Precision and ZeRO of a DeepSpeed configuration."""

from . import tables
from .source import asks

TYPES = {
    **dict.fromkeys(("fp32", "float32", "float", "torch.float32"), "fp32"),
    **dict.fromkeys(("fp16", "float16", "half", "torch.float16"), "fp16"),
    **dict.fromkeys(("bf16", "bfloat16", "torch.bfloat16"), "bf16"),
}


def set_precision(top, deck):
    """Writes section precision; returns its dtype."""
    half, brain = top.section("fp16"), top.section("bf16")
    old, autocast = top.section("bfloat16"), top.section("torch_autocast")
    if brain.values or not old.values:
        old.drop()
    else:
        brain = old
    is_half, is_brain = both_enabled(half, brain)
    if is_half and is_brain:
        text = "fp16 and bf16 are both enabled; a run has one precision.dtype"
        top.report.problem("fp16.enabled", text)
    dtype = "fp16" if is_half else "bf16" if is_brain else "fp32"
    dtype = deck.given.get("precision.dtype", dtype)
    if dtype != "fp16":
        half.drop()
    if dtype != "bf16":
        brain.drop()
    origin = f"{dtype}.enabled" if dtype != "fp32" else "neither fp16 nor bf16 is enabled"
    if autocast.flag("enabled"):
        dtype, origin = set_autocast(autocast, dtype, origin)
    else:
        autocast.drop()
    deck.set("precision.dtype", dtype, origin)
    set_loss_scale(half, deck, dtype == "fp16")
    if brain.take("bf16_optimizer_states", False) is True:
        deck.set("optimizer.state_dtype", "bf16", brain.name("bf16_optimizer_states"))
    half.tell_rest({}, tables.FP16)
    brain.tell_rest({}, tables.BF16)
    autocast.tell_rest({}, tables.AUTOCAST)
    set_reduction(top, deck, dtype)
    return dtype


def both_enabled(half, brain):
    """Whether each is on; "auto" beside one that is on means off and is no news."""
    for one, other in ((half, brain), (brain, half)):
        if one.values.get("enabled") is True and other.values.get("enabled") == "auto":
            other.drop()
            return one is half, one is brain
    return half.flag("enabled"), brain.flag("enabled")


def set_autocast(autocast, dtype, origin):
    word = autocast.word("dtype", "bf16")
    wanted = TYPES.get(word)
    if wanted is None:
        autocast.report.problem(autocast.name("dtype"), f"{word}: allowed bfloat16, float16")
        return dtype, origin
    if dtype not in ("fp32", wanted):
        text = f"{word} contradicts {origin}; a run has one precision.dtype"
        autocast.report.problem(autocast.name("dtype"), text)
        return dtype, origin
    text = f"precision.dtype = {wanted} is written: weights and activations have it, masters fp32"
    autocast.report.changed(autocast.name("enabled"), text)
    return wanted, autocast.name("dtype")


def set_loss_scale(half, deck, used):
    """Only what the file has: DeepSpeed's defaults are ours."""
    fixed = half.number("loss_scale", 0.0)
    power = half.whole("initial_scale_power")
    window = half.whole("loss_scale_window", least=1)
    hysteresis = half.whole("hysteresis", least=1)
    least = half.number("min_loss_scale")
    if not used:
        return
    first = 65536.0
    if fixed > 0:
        text = "precision.loss_scale has it as the first of a scale that moves; none stays fixed"
        half.report.changed(half.name("loss_scale"), text)
        first = fixed
        deck.set("precision.loss_scale", fixed, half.name("loss_scale"))
    elif power is not None:
        first = 2.0 ** min(power, 1000)
        deck.set("precision.loss_scale", first, half.name("initial_scale_power"))
    if window is not None:
        deck.set("precision.loss_scale_window", window, half.name("loss_scale_window"))
    if hysteresis is not None:
        deck.set("precision.loss_scale_hysteresis", hysteresis, half.name("hysteresis"))
    if least is not None:
        if least > first:
            text = f"{least} is above the first scale, {first:g}"
            half.report.problem(half.name("min_loss_scale"), text)
        deck.set("precision.loss_scale_min", least, half.name("min_loss_scale"))


def set_reduction(top, deck, dtype):
    """The type in which gradients are kept and sent."""
    types = top.section("data_types")
    keys = {
        types.name("grad_accum_dtype"): types.word("grad_accum_dtype"),
        "communication_data_type": top.word("communication_data_type"),
        "fp32_allreduce": "fp32" if top.flag("fp32_allreduce") else None,
    }
    types.tell_rest({}, dict.fromkeys(("param_dtype", "buffer_dtype"), "nearest precision.dtype"))
    wanted = {}
    for name, word in keys.items():
        if word is None or word == "none":
            continue
        found = TYPES.get(word.lower())
        if found is None:
            top.report.problem(name, f"{word}: allowed fp32, fp16, bf16")
        elif found not in ("fp32", dtype):
            text = f"{word} beside precision.dtype = {dtype}; nearest precision.reduce_dtype"
            top.report.lost(name, text)
        else:
            wanted[name] = "fp32" if found == "fp32" else "working"
    if dtype == "fp32" or not wanted:
        return
    choice = "fp32" if "fp32" in wanted.values() else "working"
    for name, one in wanted.items():
        if one != choice:
            text = "gradients are kept and sent in one type, which another key asks to be fp32"
            top.report.lost(name, text)
    if choice == "working" and deck.get("optimizer.name") in ("muon", "adafactor"):
        name = next(iter(wanted))
        top.report.lost(name, f"{deck.get('optimizer.name')} takes whole tensors in fp32")
        return
    deck.set("precision.reduce_dtype", choice, ", ".join(wanted))


def set_zero(top, deck):
    if isinstance(top.values.get("zero_optimization"), bool):
        deck.set("zero.stage", int(top.take("zero_optimization")), "zero_optimization")
        return
    zero = top.section("zero_optimization")
    stage = zero.whole("stage", 0)
    if stage > 3:
        zero.report.problem(zero.name("stage"), f"{stage} is none of ZeRO's; allowed 0, 1, 2, 3")
        stage = 3
    deck.set("zero.stage", stage, zero.name("stage") if "stage" in zero else "there is no ZeRO")
    overlap = zero.take("overlap_comm")
    if isinstance(overlap, bool):
        deck.set("comm.overlap", "on" if overlap else "off", zero.name("overlap_comm"))
    elif overlap is not None:
        zero.report.problem(zero.name("overlap_comm"), "is neither true nor false")
    set_offload(zero, deck, ("optimizer", "cpu_offload"), stage >= 1)
    set_offload(zero, deck, ("param", "cpu_offload_param", "cpu_offload_params"), stage == 3)
    set_gathered(zero, deck, stage, overlap)
    zero.tell_rest(tables.ZERO_FIXED, tables.ZERO_FEATURES, tables.ZERO_IDLE)


def set_offload(zero, deck, names, allowed):
    """offload_optimizer or offload_param, and the older keys of the same meaning."""
    what, *older = names
    key = "zero.offload_optimizer" if what == "optimizer" else "zero.offload_parameters"
    given = zero.section(f"offload_{what}")
    device, origin = given.word("device", "none"), given.name("device")
    for old in older:
        if zero.flag(old) and device == "none":
            device, origin = "cpu", zero.name(old)
    if device not in ("none", "cpu", "nvme"):
        zero.report.problem(origin, f"{device}: allowed none, cpu, nvme")
    elif device == "none":
        given.drop()
    elif not allowed:
        needed = "stage 1, 2 or 3" if what == "optimizer" else "stage 3"
        zero.report.lost(origin, f"{device} has no effect without {needed}, there and here")
        given.drop()
    else:
        if device == "nvme":
            text = f"nvme is not used: {key} = true takes host memory"
            zero.report.changed(origin, text)
        deck.set(key, True, origin)
    given.tell_rest(tables.OFFLOAD_FIXED, tables.OFFLOAD_FEATURES, tables.OFFLOAD_IDLE)


def set_gathered(zero, deck, stage, overlap):
    """Stage 3's keys, with "stage3_" in front of their names or without."""
    for plain in ("prefetch_bucket_size", "param_persistence_threshold", "max_live_parameters"):
        for key in (f"stage3_{plain}", plain):
            if key not in zero:
                continue
            if stage == 3:
                write_gathered(zero, deck, (key, plain), overlap)
            else:
                zero.drop([key])
                zero.report.lost(zero.name(key), f"has no effect at stage {stage}, there and here")
    for plain, why in tables.STAGE3_FEATURES.items():
        for key in (f"stage3_{plain}", plain):
            zero.drop([key])
            if asks(zero.values.get(key)):
                zero.report.lost(zero.name(key), why)


def write_gathered(zero, deck, names, overlap):
    key, plain = names
    number = zero.whole(key)
    if number is None:
        return
    if plain == "max_live_parameters":
        deck.set("zero.max_live_parameters", number, zero.name(key))
    elif plain == "param_persistence_threshold":
        text = "zero.persistence_threshold has it, for all parameters of a unit, not of a tensor"
        zero.report.changed(zero.name(key), text)
        deck.set("zero.persistence_threshold", number, zero.name(key))
    elif number > 0:
        text = "it counts elements; nearest zero.prefetch_units, which counts layers"
        zero.report.lost(zero.name(key), text)
    elif overlap is not False:
        deck.set("zero.prefetch_units", 0, zero.name(key))
