"""Optimizer and schedule of a DeepSpeed configuration."""

# Name in small letters: (our optimizer, what differs). None: nothing does.
OPTIMIZERS = {
    "adamw": ("adamw", None),
    "sgd": ("sgd", None),
    "adafactor": ("adafactor", None),
    "muon": ("muon", None),
    "muadam": ("adam", "rates are not scaled by the width (muP)"),
    "muadamw": ("adamw", "rates are not scaled by the width (muP)"),
    "musgd": ("sgd", "rates are not scaled by the width (muP)"),
    "onebitadam": ("adamw", "gradients are not sent in one bit"),
    "zerooneadam": ("adamw", "gradients are not sent in one bit"),
    "lamb": ("adamw", "rates are not scaled by layer (LAMB)"),
    "onebitlamb": ("adamw", "rates are not scaled by layer (LAMB), nor sent in one bit"),
    "lion": ("adamw", "Lion is another formula, with a smaller rate and other betas"),
    "adagrad": ("adamw", "Adagrad is another formula"),
}
# (lr, beta1, beta2, eps) where the file gives none, as DeepSpeed's and torch's classes have them.
DEFAULTS = {
    "adam": (1e-3, 0.9, 0.999, 1e-8),
    "adamw": (1e-3, 0.9, 0.999, 1e-8),
    "sgd": (1e-3, None, None, None),
    "adafactor": (1e-2, None, None, None),
    "muon": (0.02, 0.9, 0.95, 1e-10),
}
ONE_BIT = "gradients are not sent in one bit; nearest precision.reduce_dtype = working"
OPTIMIZER_PARAMS = {
    "torch_adam": "there is one implementation",
    "fused": "there is one implementation",
    "foreach": "there is one implementation",
    "set_grad_none": "gradients are no tensors of their own",
    "amsgrad": "AMSGrad is not offered",
    "maximize": "the loss is minimized",
    "dampening": "momentum has no dampening",
    "max_grad_norm": "DeepSpeed refuses it too; nearest train.gradient_clip",
    "freeze_step": ONE_BIT,
    "var_freeze_step": ONE_BIT,
    "var_update_scaler": ONE_BIT,
    "local_step_scaler": ONE_BIT,
    "local_step_clipper": ONE_BIT,
    "cuda_aware": ONE_BIT,
    "comm_backend_name": ONE_BIT,
    "max_coeff": "rates are not scaled by layer (LAMB)",
    "min_coeff": "rates are not scaled by layer (LAMB)",
    "coeff_beta": "rates are not scaled by layer (LAMB)",
    "factor_max": "rates are not scaled by layer (LAMB)",
    "factor_min": "rates are not scaled by layer (LAMB)",
    "factor_threshold": "rates are not scaled by layer (LAMB)",
    "eps_inside_sqrt": "eps is added outside of the root",
    "ns_method": "Newton and Schulz's iteration runs in fp32 in one way",
    "ns_steps": "Newton and Schulz's iteration has 5 steps",
    "fp32_optimizer_states": "states are fp32; nearest optimizer.state_dtype",
    "lr_decay": "Adagrad is another formula",
    "initial_accumulator_value": "Adagrad is another formula",
}


def set_optimizer(top, deck):
    """Writes section optimizer; returns whether the file has one."""
    given = top.section("optimizer")
    kind = given.word("type")
    if kind is None:
        given.tell_rest({}, {"params": "there is no optimizer.type"})
        return False
    params = given.section("params")
    ours, reason = chosen(params, given, kind)
    deck.set("optimizer.name", ours, "optimizer.type")
    write_rates(params, deck, ours, reason)
    if ours in ("sgd", "muon"):
        write_momentum(params, deck, ours)
    if ours == "adafactor":
        write_adafactor(params, deck)
    if params.take("bias_correction", True) is not True:
        params.report.lost(params.name("bias_correction"), "moments are always corrected")
    if kind.lower() not in ("adam", *OPTIMIZERS):
        foreign = {key: f"it is a setting of {kind}" for key in params.left}
        params.tell_rest(foreign, {})
    params.tell_rest({}, OPTIMIZER_PARAMS)
    given.tell_rest({}, {"legacy_fusion": "there is one implementation"})
    return True


def chosen(params, given, kind):
    """(our optimizer, what differs or None). DeepSpeed's Adam is AdamW unless it is told not to."""
    name = kind.lower()
    if name == "adam":
        mode = params.flag("adam_w_mode", True)
        return ("adamw" if mode else "adam"), None
    if name == "adamw":
        params.flag("adam_w_mode", True)
    ours, reason = OPTIMIZERS.get(name, ("adamw", f"there is no {kind}"))
    if reason is not None:
        text = f"{kind} is not offered, optimizer.name = {ours} is written as the nearest: {reason}"
        given.report.changed(given.name("type"), text)
    return ours, reason


def write_rates(params, deck, ours, reason):
    """lr, betas, eps and weight_decay, each as written or as DeepSpeed's class has it."""
    lr, beta1, beta2, eps = DEFAULTS[ours]
    lr = params.number("lr", lr)
    if ours == "muon":
        muon_lr, adam_lr = params.number("muon_lr", lr), params.number("adam_lr")
        others = 3e-4 if adam_lr is None and "lr" not in params else adam_lr or lr
        deck.set("optimizer.adam_lr", others, "optimizer.params.adam_lr")
        lr = muon_lr
    deck.set("optimizer.lr", lr, "optimizer.params.lr")
    if beta1 is not None:
        write_betas(params, deck, (beta1, beta2), reason)
        written = params.number("eps", eps)
        if written == 0:
            params.report.lost("optimizer.params.eps", f"0 would be 0/0; {eps:g} is written")
        deck.set("optimizer.eps", written or eps, "optimizer.params.eps")
    usual = 0.01 if ours == "adamw" and params.values.get("torch_adam") is True else 0.0
    decay = params.number("weight_decay", usual)
    deck.set("optimizer.weight_decay", decay, "optimizer.params.weight_decay")


def write_betas(params, deck, usual, reason):
    betas = params.take("betas", list(usual))
    good = isinstance(betas, list) and len(betas) == 2
    good = good and all(type(one) in (int, float) and 0 <= one < 1 for one in betas)
    if not good:
        text = f"{betas} are not two numbers from 0 to below 1"
        params.report.problem(params.name("betas"), text)
        betas = usual
    if reason and reason.startswith(("Lion", "Adagrad")) and "betas" in params:
        params.report.lost(params.name("betas"), f"AdamW's {usual[0]}, {usual[1]} are written")
        betas = usual
    for key, beta in zip(("beta1", "beta2"), betas):
        deck.set(f"optimizer.{key}", beta, "optimizer.params.betas")


def write_momentum(params, deck, ours):
    usual = 0.95 if ours == "muon" else 0.0
    momentum = params.number("momentum", usual, below=1)
    nesterov = params.flag("nesterov", ours == "muon")
    deck.set("optimizer.momentum", momentum, "optimizer.params.momentum")
    if momentum > 0:
        deck.set("optimizer.nesterov", nesterov, "optimizer.params.nesterov")
    elif nesterov and ours == "sgd":
        params.report.problem(params.name("nesterov"), "true needs a momentum above 0")


def write_adafactor(params, deck):
    deck.set("optimizer.beta2_decay", params.number("beta2_decay", -0.8, -8.0), "beta2_decay")
    eps = params.take("eps", [None, 1e-3])
    good = isinstance(eps, list) and len(eps) == 2 and type(eps[1]) in (int, float)
    if not good:
        params.report.problem(params.name("eps"), f"{eps} are not null and a number")
        return
    if eps[0] is not None:
        params.report.lost(params.name("eps"), "the first one is 2^-23 here, as torch's default")
    deck.set("optimizer.eps_scale", eps[1], "optimizer.params.eps")
    deck.set("optimizer.update_clip", params.number("d", 1.0, 1e-6), "optimizer.params.d")
