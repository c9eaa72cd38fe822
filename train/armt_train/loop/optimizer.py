"""The optimizer: AdamW, and Muon for the memory's matrices where the recipe says so."""

import torch

MEMORY_MATRICES = (".mem_q.weight", ".mem_k.weight", ".mem_v.weight")


class Optimizer:
    """`named`: names and parameters, with `grad` set. LoRA's matrices and W_mb have rates of their own; vectors do not
    decay.

    Muon (torch.optim.Muon, arXiv 2502.16982) takes W_mq, W_mk and W_mv. Its updates are scaled to the size of AdamW's,
    so that both take the same rate.
    """

    def __init__(self, named, training, *, on_gpu):
        self.on_gpu, self.decay, self.strength_rate = on_gpu, training.decay, training.strength_rate
        by_muon = lambda name: training.optimizer == "muon" and name.endswith(MEMORY_MATRICES)
        # whose rate: that of LoRA, of W_mb (strengths), or of all others
        kind = lambda name: "lora" if ".lora_" in name else "strengths" if ".mem_b." in name else "rest"
        of = lambda wanted, vectors: [
            p for name, p in named if not by_muon(name) and kind(name) == wanted and (p.dim() <= 1) == vectors
        ]
        groups = [
            {"params": of(wanted, vectors), "weight_decay": 0.0 if vectors else self.decay, "kind": wanted}
            for wanted in ("rest", "strengths", "lora")
            for vectors in (False, True)
        ]
        options = {"fused": True, "capturable": True} if on_gpu else {}
        self.adamw = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=training.rate, betas=tuple(training.betas), **options
        )
        self.matrices = [p for name, p in named if by_muon(name)]
        self.muon = self.muon_rate = None
        if self.matrices:
            # its rate must be a number, which a captured graph would hold fast; so its steps are scaled afterwards
            self.muon = torch.optim.Muon(self.matrices, lr=1.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
            self.muon_rate = torch.zeros((), device=self.matrices[0].device)
        self.hold_rates()

    def hold_rates(self):
        """On a GPU each group's rate is a tensor, which the captured graph reads."""
        if self.on_gpu:
            for group in self.adamw.param_groups:
                group["lr"] = torch.zeros((), device=group["params"][0].device)

    def set_rate(self, rate, lora_rate):
        """`lora_rate`: another factor, for LoRA's matrices alone."""
        factors = {"lora": lora_rate, "strengths": self.strength_rate, "rest": 1.0}
        for group in self.adamw.param_groups:
            own = rate * factors[group["kind"]]
            if self.on_gpu:
                group["lr"].fill_(own)
            else:
                group["lr"] = own
        if self.muon is not None:
            self.muon_rate.fill_(rate)

    @torch.no_grad()
    def step(self):
        self.adamw.step()
        if self.muon is None:
            return
        before = [p.clone() for p in self.matrices]
        self.muon.step()
        torch._foreach_sub_(self.matrices, before)
        torch._foreach_mul_(self.matrices, self.muon_rate)
        torch._foreach_mul_(before, 1 - self.muon_rate * self.decay)
        torch._foreach_add_(self.matrices, before)

    def parts(self):
        return [self.adamw] if self.muon is None else [self.adamw, self.muon]

    def states(self):
        """Parameters and their states, dicts of tensors."""
        return [(p, state) for part in self.parts() for p, state in part.state.items()]

    def take(self, other):
        """The state that another optimizer has of the same parameters."""
        states = {id(p): state for p, state in other.states()}
        for part in self.parts():
            for group in part.param_groups:
                for p in group["params"]:
                    if id(p) in states:
                        part.state[p] = states[id(p)]

    def state_dict(self):
        return [part.state_dict() for part in self.parts()]

    def load_state_dict(self, saved):
        for part, state in zip(self.parts(), saved, strict=True):
            part.load_state_dict(state)
        self.hold_rates()
