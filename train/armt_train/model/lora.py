"""LoRA (arXiv 2106.09685) by PEFT, put into the base's layers."""

import contextlib

from torch import nn

from armt_train.errors import TrainError


def add_lora(base_model, family, *, r, alpha, modules):
    """Puts LoRA matrices beside the named modules of every layer ("q_proj"; "all": all seven matrices).

    A starts from normal(0, 1/√inputs), B from zero. Raises TrainError for modules that the family lacks.
    """
    from peft import LoraConfig, inject_adapter_in_model

    known = {name.split(".")[-1]: name for name in family.matrices}
    names = list(known) if modules in ("all", ["all"]) else list(modules)
    for name in names:
        if name not in known:
            raise TrainError(f'lora.modules: the base has no matrix "{name}"; it has {", ".join(known)}')
    if r < 1 or not names:
        raise TrainError("lora: r must be at least 1, and at least one module is needed; without LoRA use tune: memory")
    config = LoraConfig(r=r, lora_alpha=alpha, target_modules=names, lora_dropout=0.0, bias="none")
    inject_adapter_in_model(config, base_model)
    for _, module in lora_modules(base_model):
        a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
        a.data, b.data = a.data.float(), b.data.float()
        nn.init.normal_(a, std=a.shape[1] ** -0.5)
        nn.init.zeros_(b)


def lora_modules(model):
    """Names and modules that have LoRA."""
    return [(name, module) for name, module in model.named_modules() if hasattr(module, "lora_A")]


@contextlib.contextmanager
def without_lora(model):
    """The base's own weights, for distillation. PEFT's own switch would also change `requires_grad`."""
    modules = [module for _, module in lora_modules(model)]
    for module in modules:
        module._disable_adapters = True
    try:
        yield
    finally:
        for module in modules:
            module._disable_adapters = False
