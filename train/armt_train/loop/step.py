"""One training step: read a chunk of every stream, ask, and go back through the chunk's segments.

The memory goes on to the next chunk without a gradient. On a GPU the whole step (forward, backward, sums over GPUs,
clip, optimizer) is one CUDA graph a stage.
"""

import contextlib
import gc

import numpy as np
import torch

from armt_train.errors import TrainError
from armt_train.loop.optimizer import Optimizer
from armt_train.losses import addressing, vocabulary
from armt_train.losses.slots import Slots
from armt_train.losses.vocabulary import in_chunks
from armt_train.model.armt import Cell

WIDE = {np.dtype(np.bool_): torch.float32, np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float32}
# what a step counts, summed over all GPUs: a loss is a sum over this GPU's items divided by the count of all
COUNTS = ("asked", "tail", "text", "facts", "known", "addressed", "quiet", "tokens", "chats")
WARM_UPS = 3  # steps before the graph is captured
LARGEST_MEMORY = 1e6  # of |A|; hundreds are usual, and thousands after a long text


class Step:
    """Holds model, optimizer, the streams' memory and the static buffers of a stage."""

    def __init__(self, model, training, world, device, *, compile, chats=None, chat_start=0):
        self.model, self.training, self.world, self.device = model, training, world, device
        self.is_cuda = device.type == "cuda"
        self.tap_layer = training.tap_layer(model.layers)
        self.slots = None
        self.chats, self.chat_start = chats, chat_start
        self.token_loss, self.partition = vocabulary.token_loss, vocabulary.log_partition
        self.divergence = vocabulary.divergence
        if compile:
            # a layer's variants: text, questions, the open segment and chats, with and without gradient
            torch._dynamo.config.recompile_limit = 64
            torch._dynamo.config.accumulated_recompile_limit = 512
            make = lambda function: torch.compile(function, dynamic=False)
            model.run = make(Cell.forward)
            self.token_loss, self.partition = make(self.token_loss), make(self.partition)
            self.divergence = make(self.divergence)
        self.graph = self.forward_graph = None
        self.optimizer = None
        self.runaways = torch.zeros((), dtype=torch.int64, device=device)  # memories emptied so far
        self.generator = torch.Generator().manual_seed(training.seed + 7919 * world.rank)

    # the optimizer

    def build_optimizer(self, slots):
        """`slots`: the maps of the slots loss, or None."""
        training = self.training
        self.slots = slots
        named = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        if slots is not None:
            named += [(f"slots.{name}", p) for name, p in slots.named_parameters()]
        self.parameters = [p for _, p in named]
        self.names = [name for name, _ in named]
        self.world.same_([p.data for p in self.parameters])
        # one buffer, so that clipping and the sum over GPUs are single operations
        self.gradient = torch.zeros(sum(p.numel() for p in self.parameters), device=self.device)
        offset = 0
        for p in self.parameters:
            p.grad = self.gradient[offset : offset + p.numel()].view_as(p)
            offset += p.numel()
        self.optimizer = Optimizer(named, training, on_gpu=self.is_cuda)

    def autocast(self):
        if not self.is_cuda:
            return contextlib.nullcontext()
        # casts are not kept, since the gradients of all segments would then add up in 16 bits
        return torch.autocast("cuda", torch.bfloat16, cache_enabled=False)

    # a stage

    def prepare(self, batch, stage):
        """Buffers for a stage. `batch` is a first batch, for the shapes."""
        self.release()
        losses = stage.losses
        self.losses, self.lora_rate = losses, stage.lora_rate
        b, n, s = batch["text"].shape
        parts = batch["slots"].shape[-1] if losses.slots else 0
        has = lambda maps, count: maps is not None and maps.parts == count
        key_parts = batch["asked_key"].shape[-1]
        text_parts = 0
        if losses.text_slots:
            n_mem = self.model.armt.n_mem
            if s % n_mem:
                raise TrainError(f"losses.text_slots: a segment of {s} tokens is no multiple of {n_mem} memory tokens")
            text_parts = s // n_mem
        wanted = bool(parts or text_parts)
        if (
            self.optimizer is None
            or wanted
            and (
                self.slots is None
                or parts
                and not has(self.slots.facts_maps, parts)
                or text_parts
                and not has(self.slots.text_maps, text_parts)
            )
        ):
            self.new_slots(parts, key_parts, text_parts)
        self.input = {name: self.buffer(value) for name, value in batch.items()}
        if losses.keep:
            if self.chats is None:
                raise TrainError("losses.keep: there are no chats of the base")
            count = self.training.keep.batch
            if count > b:
                raise TrainError(
                    f"training.keep.batch is {count}, but a batch has {b} streams, whose memory the chats borrow"
                )
            self.input["chats"] = torch.zeros(count, self.chats.shape[1], dtype=torch.long, device=self.device)
        self.state = self.model.empty(b, self.device)

    def new_slots(self, parts, key_parts, text_parts):
        """Maps for a stage; those that fit are kept, and the optimizer's state of everything that was there before."""
        old, old_optimizer = self.slots, self.optimizer
        slots = None
        if parts or text_parts:
            value_parts = parts - key_parts if parts else 0
            slots = Slots(self.model.width, key_parts if parts else 0, value_parts, text_parts).to(self.device)
            if old is not None:
                for name in ("facts_maps", "text_maps"):
                    mine, before = getattr(slots, name), getattr(old, name)
                    if before is not None and (mine is None or mine.parts == before.parts):
                        setattr(slots, name, before)
                        slots.key_parts = slots.key_parts or old.key_parts
        self.build_optimizer(slots)
        if old_optimizer is not None:
            self.optimizer.take(old_optimizer)

    def buffer(self, value):
        dtype = WIDE.get(value.dtype, torch.int64)
        return torch.zeros(value.shape, dtype=dtype, device=self.device)

    def release(self):
        self.input = self.state = None
        self.release_graphs()

    def release_graphs(self):
        """Frees the memory in which a captured step computes; the next step captures it anew."""
        self.graph = self.forward_graph = None
        self.output = self.forward_output = None
        gc.collect()
        if self.is_cuda:
            torch.cuda.empty_cache()

    def load(self, batch):
        for name, value in batch.items():
            value = torch.from_numpy(value)
            if self.is_cuda:
                value = value.pin_memory()
            self.input[name].copy_(value, non_blocking=True)
        if "chats" in self.input:
            count = self.input["chats"].shape[0]
            picked = torch.randint(len(self.chats), (count,), generator=self.generator)
            self.input["chats"].copy_(self.chats[picked.to(self.chats.device)], non_blocking=True)

    # losses

    def counts(self):
        x = self.input
        one = torch.ones((), device=self.device)
        b, n, s = x["text"].shape
        known = x["asked_weight"] * (x["asked_key"] >= 0).any(-1)[..., None] if "asked_key" in x else one * 0
        is_text = self.is_text()
        values = {
            "asked": x["asked_weight"].sum(),
            "tail": x["tail_weight"].sum(),
            "text": is_text.sum(),
            "facts": (x["slots"] >= 0).any(-1).sum(),
            "known": known.sum(),
            "addressed": (x["asked_segment"] >= 0).sum() if "asked_segment" in x else one * 0,
            "quiet": x["quiet"].sum(),
            "tokens": one * (b * n * s),
            "chats": one * (x["chats"].shape[0] if "chats" in x else 0),
        }
        counts = self.world.sum_(torch.stack([values[name].float() for name in COUNTS]))
        return dict(zip(COUNTS, counts.clamp_min(1e-6).unbind()))

    def is_text(self):
        """Weight of each target of the open segment in the language loss: [B, R, S - 1]; answers are left out."""
        x = self.input
        ids = x["tail"]
        there = torch.arange(1, ids.shape[2], device=self.device) < x["tail_length"][..., None]
        answers = torch.zeros(*ids.shape[:2], ids.shape[2] - 1, device=self.device)
        answers = answers.scatter_add(2, x["tail_places"].clamp_max(max(ids.shape[2] - 2, 0)), x["tail_weight"])
        weight = there.float() * (answers == 0)
        return weight * x["tail_language"][..., None] if "tail_language" in x else weight

    def vocabulary_loss(self, rows, targets):
        """Loss and rightness of rows [..., D] before the final norm, by targets [...]."""
        flat = self.model.final_norm(rows).flatten(0, -2)
        head = self.model.head
        loss, right = in_chunks(lambda r, t: self.token_loss(r, t, head), len(head), flat, targets.flatten())
        return loss.reshape(targets.shape), right.reshape(targets.shape)

    def answers(self, rows, ids, places, weight):
        """Summed loss of answers, and which rows were right. rows [B, Q, T, D], places and weight [B, Q, A]."""
        picked = rows.gather(2, places[..., None].expand(-1, -1, -1, rows.shape[-1]))
        targets = ids.gather(2, (places + 1).clamp_max(ids.shape[2] - 1))
        loss, right = self.vocabulary_loss(picked, targets)
        all_right = (right | (weight == 0)).all(-1) & (weight.sum(-1) > 0)
        return (loss * weight).sum(), all_right

    def forward(self):
        """The loss, the memory afterwards, and what is logged: losses that add up over GPUs, and right rows."""
        x, model, weights = self.input, self.model, self.losses
        zero = torch.zeros((), device=self.device)
        told = dict(
            answers=zero,
            tail=zero,
            language=zero,
            slots=zero,
            known=zero,
            text_slots=zero,
            addressing=zero,
            filler_writes=zero,
            keep=zero,
        )
        keep = 1 - x["fresh"]
        state = (self.state[0] * keep[None, :, None, None], self.state[1] * keep[None, :, None])
        count = self.counts()
        n_mem, needs_tap = model.armt.n_mem, bool(weights.slots or weights.text_slots)
        embeddings = model.base_model.model.embed_tokens.weight
        with self.autocast():
            memory_rows, writes, written = [], [], []
            for i in range(x["text"].shape[1]):
                tap = {}
                _, state = model.segment(x["text"][:, i : i + 1], state, tap=tap, tap_layer=self.tap_layer)
                writes.append(sum(tap["strengths"]))
                written.append(tap.get("addresses", ()))
                if needs_tap:
                    memory_rows.append(tap["after"][:, 0, -n_mem:])
            told["filler_writes"] = (torch.stack(writes, 1) * x["quiet"]).sum() / count["quiet"]
            if needs_tap:
                told_rows = torch.stack(memory_rows, 1).flatten(0, 1)
            if weights.slots:
                facts = self.slots.facts(told_rows, embeddings, x["slots"].flatten(0, 1), self.partition)
                told["slots"] = facts / count["facts"]
            if weights.text_slots:
                text = self.slots.text(told_rows, embeddings, x["text"].flatten(0, 1), self.partition)
                told["text_slots"] = text / count["tokens"]
            tap = {}
            rows, _ = model.segment(x["asked"], state, write=False, tap=tap, tap_layer=self.tap_layer)
            if weights.slots:
                places = x["asked_places"][..., None].expand(-1, -1, -1, rows.shape[-1])
                asking = tap["before"].gather(2, places).flatten(0, 1)
                key = x["asked_key"].flatten(0, 1)
                weight = x["asked_weight"].flatten(0, 1) * (key >= 0).any(-1)[..., None]
                told["known"] = self.slots.questions(asking, embeddings, key, weight, self.partition) / count["known"]
            if weights.addressing:
                told["addressing"] = self.addressing(tap["addresses"], written) / count["addressed"]
            answers, asked_right = self.answers(rows, x["asked"], x["asked_places"], x["asked_weight"])
            told["answers"] = answers / count["asked"]
            tail_right = torch.zeros(x["tail"].shape[:2], dtype=torch.bool, device=self.device)
            if x["tail"].shape[1]:
                rows, _ = model.segment(x["tail"], state, write=False)
                answers, tail_right = self.answers(rows, x["tail"], x["tail_places"], x["tail_weight"])
                told["tail"] = answers / count["tail"]
                if weights.language:
                    loss, _ = self.vocabulary_loss(rows[:, :, :-1], x["tail"][:, :, 1:])
                    told["language"] = (loss * self.is_text()).sum() / count["text"]
            if weights.keep:
                told["keep"] = self.kept(state) / count["chats"]
        loss = weights.slots * told["known"]
        for name in ("answers", "tail", "language", "slots", "text_slots", "addressing", "filler_writes", "keep"):
            if getattr(weights, name):
                loss = loss + getattr(weights, name) * told[name]
        told = {name: value.detach() for name, value in told.items()}
        return loss, state, {**told, "asked_right": asked_right, "tail_right": tail_right}

    def addressing(self, queries, written):
        """The loss on keys, summed over questions. queries [L][B, Q, T, d_mem], written [n][L][B, K]."""
        x, normalize = self.input, self.model.armt.normalize_keys
        places = x["asked_places"][..., None]
        weight = (x["asked_weight"] > 0) * (x["asked_segment"] >= 0)[..., None]
        weight = weight / weight.sum(-1, keepdim=True).clamp_min(1)
        counted, own = addressing.segments(x["asked_segment"], x["asked_key"], x["slots"])
        total = 0.0
        for rows, keys in zip(queries, zip(*written)):
            rows = rows.gather(2, places.expand(-1, -1, -1, rows.shape[-1]))
            total = total + addressing.loss(rows, torch.stack(keys, 1), weight, counted, own, normalize)
        return total / len(queries)

    def kept(self, state):
        """KL(base ‖ model) on chats behind an unrelated memory, an empty one in every fourth; mean over a chat's
        tokens, summed over chats.
        """
        model, ids = self.model, self.input["chats"]
        n = len(ids)
        full = (torch.arange(n, device=self.device) % 4 != 3).float()
        part = ([a[:n] * full[:, None, None] for a in state[0]], [z[:n] * full[:, None] for z in state[1]])
        with torch.no_grad():
            base = model.final_norm(model.base_rows(ids)[:, self.chat_start - 1 : -1])
        rows, _ = model.segment(ids[:, None], part, write=False)
        own = model.final_norm(rows[:, 0, self.chat_start - 1 : -1])
        head = model.head
        each = in_chunks(lambda r, b: self.divergence(r, b, head), len(head), own.flatten(0, 1), base.flatten(0, 1))
        return each.sum() / own.shape[1]

    # the step

    def once(self):
        self.gradient.zero_()
        loss, state, output = self.forward()
        loss.backward()
        with torch.no_grad():
            self.world.sum_(self.gradient)
            norm = self.gradient.norm()
            # a read where next to nothing was stored divides by almost nothing; such a step is left out
            factor = torch.where(
                norm.isfinite(), (self.training.clip / (norm + 1e-6)).clamp_max(1), torch.zeros_like(norm)
            )
            self.gradient.nan_to_num_(0, 0, 0).mul_(factor)
            output["norm"] = norm
        self.optimizer.step()
        self.keep_state(state)
        return output

    @torch.no_grad()
    def keep_state(self, state):
        """Keeps the streams' memory for the next chunk. A memory that has run away is counted and emptied: its loss
        would dominate every step until the stream ends.
        """
        a, z = (torch.stack([layer.detach() for layer in part]) for part in state)
        # false for numbers that are not finite, too
        sound = (a.abs().amax((0, 2, 3)) < LARGEST_MEMORY) & (z.abs().amax((0, 2)) < LARGEST_MEMORY)
        zero = torch.zeros((), device=self.device)
        self.state[0].copy_(torch.where(sound[None, :, None, None], a, zero))
        self.state[1].copy_(torch.where(sound[None, :, None], z, zero))
        self.runaways += (~sound).sum()

    def step(self, batch, rate):
        """Trains on a batch; gives what is logged (on this GPU)."""
        self.load(batch)
        self.optimizer.set_rate(rate, self.lora_rate)
        if not self.is_cuda:
            return self.once()
        if self.graph is None:
            self.graph, self.output = self.capture(self.once)
        self.graph.replay()
        return self.output

    def capture(self, function):
        """A CUDA graph of a function, after some calls that compile it and leave no trace."""
        restore = self.snapshot()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                function()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        restore()
        gc.collect()
        torch.cuda.empty_cache()
        graph = torch.cuda.CUDAGraph()
        pool = self.graph.pool() if self.graph is not None else None
        # other threads (NCCL's watchdog, pinned memory) may call CUDA meanwhile
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            output = function()
        return graph, output

    @torch.no_grad()
    def snapshot(self):
        """Keeps weights, optimizer and the streams' memory; the function that it returns puts them back."""
        weights = [p.detach().clone() for p in self.parameters]
        moments = {id(p): {k: v.clone() for k, v in s.items()} for p, s in self.optimizer.states()}
        memory, runaways = [part.cpu() for part in self.state], self.runaways.clone()

        @torch.no_grad()
        def restore():
            for p, before in zip(self.parameters, weights):
                p.copy_(before)
            for p, state in self.optimizer.states():
                for name, value in state.items():
                    if id(p) in moments:
                        value.copy_(moments[id(p)][name])
                    else:
                        value.zero_()
            for mine, before in zip(self.state, memory):
                mine.copy_(before)
            self.runaways.copy_(runaways)

        return restore

    # held-out streams

    def look(self):
        """Forward only; the memory goes on. Keeps what a backward pass would need, so that it runs the code compiled
        for training.
        """
        _, state, output = self.forward()
        self.keep_state(state)
        return output

    def evaluate(self, batches):
        """Runs held-out batches in the place of the streams; yields each batch and what came out. The streams' memory
        is put back afterwards.
        """
        kept = [part.cpu() for part in self.state]
        for part in self.state:
            part.zero_()
        try:
            for batch in batches:
                self.load(batch)
                if self.is_cuda and self.graph is not None:
                    if self.forward_graph is None:
                        self.forward_graph, self.forward_output = self.capture(self.look)
                    self.forward_graph.replay()
                    yield batch, self.forward_output
                else:
                    yield batch, self.look()
        finally:
            for mine, before in zip(self.state, kept):
                mine.copy_(before)
