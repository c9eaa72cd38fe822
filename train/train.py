"""Trains the recall model: `python3 train/train.py --config train/config.json --out FOLDER`.

Each step reads one chunk of every stream, asks, and back-propagates through the chunk's segments; the memory goes on to the next chunk without gradient.
On a GPU the whole step (forward, backward, optimizer) is one CUDA graph a stage. A run that was stopped goes on from FOLDER/state.pt.
"""

import argparse
import contextlib
import gc
import json
import math
import multiprocessing as mp
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import check_golden
import tensors
from armt import Armt, Config, run_cell
from slots import Slots
from task import Batches, Mix, Shape, Texts

HERE = Path(__file__).parent
CHECK_SECONDS = 15  # kept free for the last check where the time is bounded
# a system message is text to read, a user's a question about it; line breaks are in strings, since Jinja's `trim_blocks` removes those behind blocks
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'user' %}{{ '\\nQuestion: ' + message.content }}"
    "{% elif message.role == 'assistant' %}{{ '\\nAnswer: ' + message.content | trim }}"
    "{% else %}{{ message.content }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '\\nAnswer:' }}{% endif %}"
)


# data


def serve(texts, commands, batches):
    """A worker: makes batches of the stage that it was last told of."""
    torch.set_num_threads(1)
    stage = source = None
    while True:
        while source is None or not commands.empty():
            stage, shape, mix, batch, seed = commands.get()
            if stage is None:
                return
            source = Batches(texts, shape, mix, batch, seed)
        batches.put((stage, next(source)))


class Workers:
    """Processes that share the streams of a batch among them."""

    def __init__(self, texts, count):
        context = mp.get_context("fork")
        self.ends = [(context.Queue(), context.Queue(maxsize=3)) for _ in range(count)]
        self.processes = [context.Process(target=serve, args=(texts, *ends), daemon=True) for ends in self.ends]
        for process in self.processes:
            process.start()

    def start(self, stage, shape, mix, batch, seed):
        self.stage = stage
        count = len(self.ends)
        shares = [batch // count + (i < batch % count) for i in range(count)]
        self.used = [e for e, share in zip(self.ends, shares) if share]
        for i, ((commands, _), share) in enumerate(zip(self.ends, shares)):
            if share:
                commands.put((stage, shape, mix, share, f"{seed}-{stage}-{i}"))

    def next(self):
        parts = []
        for _, batches in self.used:
            stage, part = batches.get()
            while stage != self.stage:
                stage, part = batches.get()
            parts.append(part)
        return {k: torch.from_numpy(np.concatenate([p[k] for p in parts])) for k in parts[0]}

    def stop(self):
        for process in self.processes:
            process.terminate()


# one step


def answer_loss(model, rows, ids, places, weight):
    """Cross entropy summed over the answers' tokens, and which questions were answered right. rows [B, Q, T, D], places [B, Q, N]."""
    picked = rows.gather(2, places[..., None].expand(-1, -1, -1, rows.shape[-1]))
    targets = ids.gather(2, places + 1)
    logits = model.logits(picked).float()
    loss = F.cross_entropy(logits.flatten(0, 2), targets.flatten(), reduction="none").reshape(targets.shape)
    right = ((logits.argmax(-1) == targets) | (weight == 0)).all(-1) & (weight.sum(-1) > 0)
    return (loss * weight).sum() / weight.sum().clamp_min(1), right


def tail_loss(model, rows, ids, places, weight, lengths, language):
    logits = model.logits(rows[:, :, :-1]).float()
    targets = ids[:, :, 1:]
    loss = F.cross_entropy(logits.flatten(0, 2), targets.flatten(), reduction="none").reshape(targets.shape)
    is_text = torch.arange(1, ids.shape[2], device=ids.device) < lengths[..., None]
    is_answer = torch.zeros_like(loss).scatter_add(2, places, weight)
    right = logits.argmax(-1) == targets
    all_right = (right | (is_answer == 0)).all(-1) & (is_answer.sum(-1) > 0)
    answers = (loss * is_answer).sum() / is_answer.sum().clamp_min(1)
    return answers + language * (loss * is_text).sum() / is_text.sum().clamp_min(1), all_right, (loss * is_text).sum() / is_text.sum().clamp_min(1)


class Trainer:
    def __init__(self, model, texts, device, settings):
        self.model, self.device, self.settings = model, device, settings
        cuda = device.type == "cuda"
        self.cuda = cuda
        self.rate = torch.tensor(settings["rate"], device=device)
        self.slots = Slots(model.c.dim, texts.parts).to(device)
        self.parameters = [*model.parameters(), *self.slots.parameters()]
        decay = [p for p in self.parameters if p.dim() > 1]
        rest = [p for p in self.parameters if p.dim() <= 1]
        options = {"fused": True, "capturable": True} if cuda else {}
        groups = [{"params": decay, "weight_decay": settings["decay"]}, {"params": rest, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=self.rate if cuda else settings["rate"], betas=tuple(settings["betas"]), **options)
        self.graph = None

    def autocast(self):
        # casts are not kept, since the gradients of all segments would then add up in 16 bits
        return torch.autocast("cuda", torch.bfloat16, cache_enabled=False) if self.cuda else contextlib.nullcontext()

    def prepare(self, batch, slots, quiet):
        """Buffers of a stage; batch is a first batch, for the shapes; slots and quiet are the weights of the loss for training and of writes of filler."""
        self.graph = None
        self.slots_weight, self.quiet_weight = slots, quiet
        gc.collect()
        wide = {torch.int16: torch.int64, torch.int32: torch.int64, torch.bool: torch.float32}
        self.input = {k: torch.zeros(v.shape, dtype=wide.get(v.dtype, v.dtype), device=self.device) for k, v in batch.items()}
        self.state = self.model.empty(len(batch["fresh"]), self.device)
        self.output = None

    def forward(self):
        x, model = self.input, self.model
        keep = 1 - x["fresh"]
        state = (self.state[0] * keep[None, :, None, None], self.state[1] * keep[None, :, None])
        with self.autocast():
            held, noise = [], []
            for i in range(x["text"].shape[1]):
                tap = {} if self.slots_weight else None
                _, state = model.segment(x["text"][:, i : i + 1], state, tap=tap)
                if tap:
                    held.append(self.slots.facts(tap["after"][:, 0, -model.c.n_mem :], model.embed, x["facts"][:, i]))
                    noise.append((sum(tap["strengths"]) * x["quiet"][:, i]).sum() / x["quiet"][:, i].sum().clamp_min(1))
            tap = {} if self.slots_weight else None
            rows, _ = model.segment(x["asked"], state, write=False, tap=tap)
            known = torch.zeros((), device=self.device)
            if tap:
                picked = tap["before"].gather(2, x["asked_places"][..., None].expand(-1, -1, -1, rows.shape[-1]))
                known = self.slots.questions(picked, model.embed, x["asked_key"], x["asked_weight"])
            held, noise = (sum(v) / len(v) if v else torch.zeros((), device=self.device) for v in (held, noise))
            asked, asked_right = answer_loss(model, rows, x["asked"], x["asked_places"], x["asked_weight"])
            if x["tail"].shape[1]:
                rows, _ = model.segment(x["tail"], state, write=False)
                tail, tail_right, language = tail_loss(model, rows, x["tail"], x["tail_places"], x["tail_weight"], x["tail_length"], self.settings["language"])
            else:
                tail, tail_right, language = (torch.zeros((), device=self.device) for _ in range(3))
        loss = asked + self.settings["tail"] * tail + self.slots_weight * (held + known) + self.quiet_weight * noise
        return loss, state, {"loss": asked.detach(), "tail": tail.detach(), "language": language.detach(), "held": held.detach(), "known": known.detach(), "noise": noise.detach(), "right": asked_right, "tail_right": tail_right}

    def train_once(self):
        for p in self.parameters:
            p.grad = None
        loss, state, output = self.forward()
        loss.backward()
        output["norm"] = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings["clip"])
        with torch.no_grad():
            # a read where next to nothing was stored divides by almost nothing; such a step is left out
            is_sound = output["norm"].isfinite()
            for p in self.parameters:
                if p.grad is None:
                    continue
                p.grad.copy_(torch.where(is_sound, p.grad, torch.zeros_like(p.grad)))
        self.optimizer.step()
        with torch.no_grad():
            self.state[0].copy_(torch.stack([a.detach() for a in state[0]]).nan_to_num(0, 0, 0))
            self.state[1].copy_(torch.stack([z.detach() for z in state[1]]).nan_to_num(0, 0, 0))
        return output

    def load(self, batch):
        for k, v in batch.items():
            v = v.pin_memory() if self.cuda else v
            self.input[k].copy_(v, non_blocking=True)

    def step(self, batch, rate):
        self.load(batch)
        if not self.cuda:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.output = self.train_once()
            return self.output
        self.rate.fill_(rate)
        if self.graph is None:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    self.train_once()
            torch.cuda.current_stream().wait_stream(side)
            torch.cuda.synchronize()
            gc.collect()
            torch.cuda.empty_cache()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.output = self.train_once()
        self.graph.replay()
        return self.output

    @torch.no_grad()
    def evaluate(self, source, chunks):
        """Recall by age of the fact, in segments, over streams of another split."""
        model, counts = self.model, {}
        state = None
        for _ in range(chunks):
            batch = next(source)
            x = {k: torch.from_numpy(v).to(self.device) for k, v in batch.items()}
            if state is None:
                state = model.empty(len(x["fresh"]), self.device)
            keep = 1 - x["fresh"].float()
            state = [[a * keep[:, None, None] for a in state[0]], [z * keep[:, None] for z in state[1]]]
            with self.autocast():
                for i in range(x["text"].shape[1]):
                    _, state = model.segment(x["text"][:, i : i + 1].long(), state)
                rows, _ = model.segment(x["asked"].long(), state, write=False)
                _, right = answer_loss(model, rows, x["asked"].long(), x["asked_places"].long(), x["asked_weight"])
            for age, ok in zip(batch["age"].ravel().tolist(), right.flatten().tolist()):
                if age >= 0:
                    bucket = age_bucket(age)
                    n, k = counts.get(bucket, (0, 0))
                    counts[bucket] = (n + 1, k + ok)
        return {b: {"asked": n, "recall": round(k / n, 4)} for b, (n, k) in sorted(counts.items())}


def age_bucket(age):
    return 0 if age == 0 else 2 ** int(math.log2(age))


def mean(values):
    values = list(values)
    return sum(values) / max(1, len(values))


def by(pairs):
    groups = {}
    for key, right in pairs:
        groups.setdefault(key, []).append(right)
    return {k: round(mean(v), 3) for k, v in sorted(groups.items())}


def total(counts):
    n = sum(c["asked"] for c in counts.values())
    return sum(c["asked"] * c["recall"] for c in counts.values()) / max(n, 1)


# the run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default=HERE / "config.json", type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="overrides a setting, e.g. model.layers=6")
    parser.add_argument("--weights", type=Path, help="safetensors file of an earlier run to start from, with a fresh optimizer")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after that long and keep the state, to go on later")
    parser.add_argument("--before", type=int, default=10**9, metavar="STAGE", help="stop before that stage and keep the state, to go on later")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    begin = time.time()
    check_golden.main()

    config = json.loads(args.config.read_text())
    for override in args.set:
        key, value = override.split("=", 1)
        *path, last = key.split(".")
        at = config
        for part in path:
            at = at[int(part) if isinstance(at, list) else part]
        at[int(last) if isinstance(at, list) else last] = json.loads(value)
    settings = config["training"]

    args.out.mkdir(parents=True, exist_ok=True)
    texts = Texts("train")
    workers = Workers(texts, args.workers)
    held_out = Texts("heldOut")
    torch.manual_seed(settings["seed"])
    device = torch.device(args.device)
    c = Config(vocab_size=len(texts.tokenizer), **config["model"])
    model = Armt(c)
    first_stage = first_step = done = 0
    model.to(device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        if not args.no_compile:
            torch._dynamo.config.cache_size_limit = 64
            model.run = torch.compile(run_cell, dynamic=False)
    if args.weights:
        tensors.from_checkpoint(model, tensors.read(args.weights))
    trainer = Trainer(model, texts, device, settings)
    saved = args.out / "state.pt"
    if saved.exists():
        data = torch.load(saved, map_location=device)
        model.load_state_dict(data["model"])
        trainer.slots.load_state_dict(data["slots"])
        trainer.optimizer.load_state_dict(data["optimizer"])
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.rate if trainer.cuda else settings["rate"]
        first_stage, first_step, done = data["stage"], data["step"], data["done"]

    log = open(args.out / "log.jsonl", "a")

    def report(**entry):
        entry = {"seconds": round(time.time() - begin, 1), **entry}
        log.write(json.dumps(entry) + "\n")
        log.flush()
        print(json.dumps(entry), flush=True)

    def keep(stage, step):
        data = {"model": model.state_dict(), "slots": trainer.slots.state_dict(), "optimizer": trainer.optimizer.state_dict(), "stage": stage, "step": step, "done": done}
        torch.save(data, str(saved) + ".tmp")
        os.replace(str(saved) + ".tmp", saved)

    report(parameters=sum(p.numel() for p in model.parameters()), device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu", config=config)
    out_of_time = False
    unsound = 0
    for number, stage in enumerate(config["stages"]):
        if number < first_stage or number >= args.before:
            continue
        shape, mix, batch = Shape(**stage["shape"]), Mix(**stage["mix"]), stage["batch"]
        workers.start(number, shape, mix, batch, f"{settings['seed']}-{first_step}")
        trainer.prepare(first := workers.next(), stage.get("slots", 0), stage.get("quiet", 0))
        window, asked, n_steps, waited = [], [], stage["steps"], 0.0
        start = time.time()
        seconds = stage.get("seconds", math.inf)
        if stage.get("cool"):
            seconds = min(seconds, args.seconds - (start - begin) - CHECK_SECONDS)
        begin_step = first_step
        for step in range(first_step, n_steps):
            before = time.time()
            data = first if step == begin_step else workers.next()
            waited += time.time() - before
            share = done / settings["warm_up"]
            rate = settings["rate"] * min(1, share) * stage.get("rate", 1)
            spent = (time.time() - start) / seconds
            if stage.get("cool"):
                rate *= max(0.01, 1 - max(step / n_steps, spent))
            output = trainer.step(data, rate)
            done += 1
            if step % 10 == 9:
                tail_asked = (data["tail_weight"].sum(-1) > 0).sum().item()
                window.append({"loss": output["loss"].item(), "language": output["language"].item(), "norm": output["norm"].item(),
                               "held": output["held"].item(), "known": output["known"].item(), "noise": output["noise"].item(),
                               "tail": output["tail_right"].sum().item() / max(1, tail_asked)})
                asked.extend(zip(data["kind"].flatten().tolist(), data["age"].flatten().tolist(), output["right"].flatten().tolist()))
            if step % 50 == 49:
                asked = [a for a in asked if a[0] >= 0]
                recall = mean(right for _, _, right in asked)
                loss = mean(w["loss"] for w in window)
                report(stage=number, name=stage["name"], step=step + 1, recall=round(recall, 4), **{k: round(mean(w[k] for w in window), 4) for k in window[0]},
                       rate=round(rate, 6), per_second=round((step + 1 - begin_step) / (time.time() - start), 2),
                       waited=round(waited / (time.time() - start), 2), questions=len(asked) // 5,
                       kinds=by([(texts.kinds[k]["name"], right) for k, _, right in asked]), ages=by([(age_bucket(a), right) for _, a, right in asked]))
                window, asked = [], []
                unsound = unsound + 1 if not math.isfinite(loss) else 0
                if unsound > 3:
                    raise SystemExit("the loss is no longer finite")
                if recall >= stage.get("until", 2):
                    break
            if spent >= 1:
                break
            if time.time() - begin > args.seconds:
                out_of_time = True
                break
        keep(number if out_of_time else number + 1, step + 1 if out_of_time else 0)
        first_step = 0
        if stage.get("check") and not out_of_time or out_of_time and shape.segment == c.segment_size:
            source = Batches(held_out, shape, mix, min(batch, 64), 7)
            counts = trainer.evaluate(source, stage.get("check", 8))
            report(stage=number, name=stage["name"], held_out=round(total(counts), 4), by_age=counts)
        if out_of_time:
            break
    workers.stop()
    tensors.write_checkpoint(model, texts.tokenizer.to_json(), args.out / "checkpoint", texts.tokenizer.end, CHAT_TEMPLATE)
    report(finished=not out_of_time and args.before > len(config["stages"]), checkpoint=str(args.out / "checkpoint"))


if __name__ == "__main__":
    main()
