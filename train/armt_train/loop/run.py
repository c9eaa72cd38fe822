"""A run from its recipe to the memory's file."""

import json
import math
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from armt_train.errors import TrainError
from armt_train.loop import saving
from armt_train.loop.chats import load_or_write_chats, with_prose
from armt_train.loop.distributed import join, leave, rank_of_environment
from armt_train.loop.recipe import Evaluation
from armt_train.loop.report import Log, Tally, duration
from armt_train.loop.setup import load_data, load_model, make_pools, say_sizes, stage_shapes
from armt_train.loop.step import Step

SAMPLE_EVERY = 10  # steps between looks at a step's output, which wait for the GPU
REPORT_EVERY = 50
LAST_CHECK_SECONDS = 20  # kept free for the last evaluation where the time is bounded
UNSOUND_REPORTS = 4  # in a row, after which a run that is no longer finite ends
LOSSES = ("answers", "tail", "language", "slots", "known", "text_slots", "addressing", "filler_writes", "keep", "norm")


@dataclass
class Options:
    """What the command line says beside the recipe. Times in seconds."""

    out: Path
    base: Path | None = None
    weights: Path | None = None  # folder of trained weights to start from, with a fresh optimizer
    seconds: float = math.inf
    until: dict = field(default_factory=dict)
    workers: int | None = None
    device: str | None = None
    compile: bool | None = None
    dry_run: bool = False
    save_every: float = 600.0
    keep_state: bool = True
    fresh_state: bool = False
    start_stage: int = 0


class Stop:
    """Set by SIGTERM and SIGINT: the run saves and ends. A second one ends it at once."""

    def __init__(self):
        self.asked = False
        self.old = {}

    def __enter__(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self.old[number] = signal.signal(number, self.ask)
        return self

    def __exit__(self, *_):
        for number, handler in self.old.items():
            signal.signal(number, handler)

    def ask(self, number, _):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def run(recipe, values, options):
    """Trains as the recipe says. `values`: the recipe as JSON, for the log. Returns what the last log line says."""
    begin = time.time()
    world = rank_of_environment()
    cuda = torch.cuda.is_available() if options.device is None else options.device == "cuda"
    if options.device == "cuda" and not torch.cuda.is_available():
        raise TrainError("--device cuda: PyTorch sees no GPU")
    device = torch.device("cuda", world.local_rank) if cuda else torch.device("cpu")
    options.out.mkdir(parents=True, exist_ok=True)
    base, model = load_model(recipe, options.base, device)
    source, tasks = load_data(recipe, base.tokenizer)
    shapes = stage_shapes(recipe, source)
    for i, stage in enumerate(recipe.stages):
        if stage.steps is None and stage.seconds is None and not math.isfinite(options.seconds):
            raise TrainError(f'stages.{i} ("{stage.name}") has neither steps nor seconds: say --seconds')
    log = Log(options.out, world.is_first, begin)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    log.say(f"{base.name}: {model.layers} layers of {model.width}; {trained / 1e6:.2f} M trained numbers")
    # processes fork before CUDA starts
    pools = [] if options.dry_run else make_pools(source, options.workers, world)
    try:
        say_sizes(recipe, base, shapes, device, log)
        if options.dry_run:
            return {"dry_run": True}
        with Stop() as stop:
            if cuda:
                torch.cuda.set_device(device)
                torch.backends.cuda.matmul.allow_tf32 = True
            join(world, device)
            run = Run(recipe, values, options, world, device, base, model, source, tasks, pools, log, stop, begin)
            try:
                return run.run()
            finally:
                # NCCL waits at its end for graphs that hold its operations
                run.release()
    finally:
        for pool in pools:
            pool.stop()
        leave(world)


class Run:
    def __init__(self, recipe, values, options, world, device, base, model, source, tasks, pools, log, stop, begin):
        self.recipe, self.values, self.options = recipe, values, options
        self.world, self.device, self.base, self.model = world, device, base, model
        self.corpus, self.tasks, (self.workers, self.held_out) = source.corpus, tasks, pools
        self.log, self.stop, self.begin = log, stop, begin
        self.position = {"stage": options.start_stage, "step": 0, "done": 0, "seconds": 0.0, "in_stage": 0.0}
        self.unsound, self.runaways, self.last_save = 0, 0, time.time()
        self.stopped = False  # by a signal, on any rank
        self.step = self.slots_folder = None
        self.evaluation_seconds = LAST_CHECK_SECONDS

    def run(self):
        options, recipe, model = self.options, self.recipe, self.model
        chats, chat_start = None, 0
        if any(stage.losses.keep for stage in recipe.stages):
            keep = recipe.training.keep
            if self.world.is_first:
                start = time.time()
                chats, chat_start = self.write_chats(keep)
                self.log.say(f"chats of the base: {time.time() - start:.0f} s")
            self.world.wait()
            if not self.world.is_first:
                chats, chat_start = self.write_chats(keep)
            if keep.prose:
                seed = f"keep-{recipe.training.seed}"
                chats = with_prose(chats, keep.prose, self.corpus.train, self.base.tokenizer, seed)
        model.to(self.device)
        state = None if options.fresh_state else saving.load_state(options.out, self.world)
        self.load_weights(state)
        compile = options.compile if options.compile is not None else self.device.type == "cuda"
        self.step = Step(
            model, recipe.training, self.world, self.device, compile=compile, chats=chats, chat_start=chat_start
        )
        if self.world.is_first:
            (options.out / "recipe.json").write_text(json.dumps(self.values, indent=1) + "\n")
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        self.log.before = self.position["seconds"]
        self.log.write(
            base=self.base.name,
            fingerprint=self.base.fingerprint,
            device=device,
            gpus=self.world.size,
            trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
            position=self.position,
            recipe=self.values,
        )
        self.before = self.position["seconds"]
        ended = "finished"
        for number, stage in enumerate(recipe.stages):
            if number < self.position["stage"]:
                continue
            ended = self.run_stage(number, stage, state)
            state = None
            if ended != "finished":
                break
        entry = self.finish(ended)
        return entry

    def release(self):
        if self.step is not None:
            self.step.release()

    def write_chats(self, keep):
        from armt_train.model.lora import without_lora

        with without_lora(self.base.model):
            return load_or_write_chats(
                self.base, keep, self.options.out, self.device, self.recipe.training.seed, self.log.say
            )

    def load_weights(self, state):
        """Where this run starts: the whole state, trained weights in the folder, or those of another folder."""
        options = self.options
        if state is not None:
            self.position = dict(state["position"])
            self.log.say(
                f"goes on at stage {self.position['stage'] + 1}, step {self.position['step']}, with the same data"
            )
            return
        folder = None
        if (position := saving.read_position(options.out)) is not None:
            folder, self.position = options.out, dict(position)
            self.position.pop("average", None)  # what is trained from here is a run's own
            self.log.say(
                f"goes on from the trained weights at stage {self.position['stage'] + 1}, "
                f"step {self.position['step']}, with a fresh optimizer and other data"
            )
        elif options.weights is not None:
            folder = options.weights
            self.log.say(f"starts from the trained weights in {folder}")
            for key, (here, there) in saving.other_numbers(folder, self.recipe.model).items():
                self.log.warn(f"the weights were trained with model.{key} {there}, and the recipe has {here}")
        if folder is not None:
            fresh = saving.load_trained(folder, self.model, new_lora=folder != options.out)
            if fresh:
                self.log.say(f"{len(fresh) // 2} of LoRA's pairs of matrices are not among them and start anew")
            self.slots_folder = folder

    @property
    def seconds(self):
        return time.time() - self.begin

    def shared(self, *values):
        """The first rank's numbers, on all ranks."""
        if self.world.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        self.world.same_([tensor])
        return tensor.tolist()

    def run_stage(self, number, stage, state):
        step, recipe, options = self.step, self.recipe, self.options
        self.position["stage"] = number
        first = self.position["step"]
        seed = f"{recipe.training.seed}-{number}" + (f"-from-{first}" if first and state is None else "")
        resumed = state is not None and state["streams"] is not None
        self.workers.start(
            shape=stage.shape,
            mix=stage.mix,
            batch=stage.batch,
            seed=seed,
            keep=options.keep_state,
            states=state["streams"] if resumed else None,
            count=first,
        )
        evaluation = stage.evaluate or Evaluation()
        if stage.evaluate:
            self.start_held_out(stage)
        batch = self.workers.next()
        step.prepare(batch, stage)
        if self.slots_folder is not None and step.slots is not None:
            saving.load_slots(self.slots_folder, step.slots)
            self.slots_folder = None
        if state is not None:
            self.restore(state)
        # a stage that was stopped has so much less time left
        already = self.position.get("in_stage", 0.0) if first else 0.0
        start = time.time() - already
        self.stage_start = start
        total = stage.steps if stage.steps is not None else math.inf
        end = stage.seconds if stage.seconds is not None else math.inf
        if stage.cool:
            end = min(end, already + options.seconds - self.seconds - self.reserve(stage))
        self.window, tally, waited, spent, result = [], Tally(self.tasks), 0.0, 0.0, "finished"
        compile_end = None
        n = first
        while n < total:
            if n > first:
                before = time.time()
                batch = self.workers.next()
                waited += time.time() - before
            rate = (
                recipe.training.rate
                * stage.rate
                * min(1.0, (self.position["done"] + 1) / max(1, recipe.training.warm_up))
            )
            if stage.cool:
                rate *= max(0.01, 1 - max(n / total, spent))
            output = step.step(batch, rate)
            n += 1
            self.position["step"] = n
            self.position["done"] += 1
            if compile_end is None:
                if self.device.type == "cuda":
                    torch.cuda.synchronize()
                compile_end, compiled_at = time.time(), n
            if n % SAMPLE_EVERY == 0 or n == total:
                self.window.append({name: output[name].item() for name in LOSSES})
                tally.add(batch, output)
            code = 0
            if n % SAMPLE_EVERY == 0 or self.world.size == 1:
                spent = (time.time() - start) / end
                if time.time() - start >= end:
                    code = 1
                if self.seconds >= options.seconds - self.reserve(stage):
                    code = 2
                self.stopped = self.world.any(self.stop.asked, self.device)
                code, spent, due = self.shared(
                    2 if self.stopped else code, spent, time.time() - self.last_save > options.save_every
                )
            if n % REPORT_EVERY == 0 or n == total or code:
                if not self.window:
                    self.window.append({name: output[name].item() for name in LOSSES})
                    tally.add(batch, output)
                speed = (n - compiled_at) / max(1e-9, time.time() - compile_end)
                here = time.time() - start
                entry = self.report(stage, n, total, end - here, tally, rate, speed, waited / max(1e-9, here - already))
                tally = Tally(self.tasks)
                if self.reached(stage.until, entry) and not code:
                    code = 1
                if self.reached(options.until, entry):
                    code = 2
            if evaluation.every and n % evaluation.every == 0 and not code:
                self.evaluate(stage, evaluation)
            if code:
                result = "finished" if code == 1 else "stopped"
                break
            if n % SAMPLE_EVERY == 0 and due and n < total and output["norm"].isfinite():
                self.save(n)
        if result == "finished":
            self.position.update(stage=number + 1, step=0, in_stage=0.0)
        self.save(n, between_stages=result == "finished")
        if stage.evaluate is not None and (result == "finished" or not self.stopped):
            # what follows would not fit beside the graph of a large stage
            step.release_graphs()
            self.evaluate(stage, evaluation)
        return result

    def reserve(self, stage):
        """Seconds kept free for the checks at the end."""
        checks = (stage.evaluate is not None) + (self.recipe.language_check is not None)
        return min(self.evaluation_seconds * checks, self.options.seconds / 4)

    def restore(self, state):
        step = self.step
        if state["names"] != step.names:
            raise TrainError(
                "the saved state is of a run with other settings; start with --fresh-state or another --out"
            )
        with torch.no_grad():
            for p, saved in zip(step.parameters, state["weights"]):
                p.copy_(saved)
            if state["memory"] is not None and state["position"]["step"]:
                for mine, saved in zip(step.state, state["memory"]):
                    mine.copy_(saved)
        step.optimizer.load_state_dict(state["optimizer"])
        step.generator.set_state(state["generator"])
        torch.set_rng_state(state["random"])

    def report(self, stage, n, total, left, tally, rate, speed, waited):
        numbers = tally.numbers()
        if self.world.size > 1:
            numbers = self.world.sum_(torch.tensor(numbers, dtype=torch.float64, device=self.device)).tolist()
        tally.take(numbers)
        losses = torch.tensor(
            [[w[name] for name in LOSSES] for w in self.window] or [[0.0] * len(LOSSES)], dtype=torch.float64
        )
        # a step whose gradient is not finite is left out, here too
        finite = losses.isfinite().all(1)
        mean = losses[finite].mean(0) if finite.any() else torch.zeros(len(LOSSES), dtype=torch.float64)
        if self.world.size > 1:
            # each rank has its share of the sums
            shared = self.world.sum_(mean.to(self.device).clone()).cpu()
            shared[LOSSES.index("norm")] = mean[LOSSES.index("norm")]
            mean = shared
        means = {name: round(value, 4) for name, value in zip(LOSSES, mean.tolist())}
        self.window = []
        runaways = self.world.sum_(self.step.runaways.clone()).item()
        gib = torch.cuda.max_memory_allocated(self.device) / 2**30 if self.device.type == "cuda" else 0.0
        summary = tally.summary()
        entry = {
            "stage": self.position["stage"],
            "name": stage.name,
            "step": n,
            **summary,
            "losses": means,
            "left_out": int((~finite).sum()),
            "runaways": runaways - self.runaways,
            "rate": round(rate, 7),
            "per_second": round(speed, 2),
            "waited": round(waited, 3),
            "gib": round(gib, 1),
        }
        self.log.write(**entry)
        left = min(left, (total - n) / speed if speed > 0 else math.inf, self.options.seconds - self.seconds)
        later = {"in the open segment": summary["recall_tail"], "about it": summary["recall_open"]}
        tail = "".join(f", {name} {100 * share:.1f} %" for name, share in later.items() if share is not None)
        shown = " ".join(f"{name} {value:.3f}" for name, value in means.items() if value)
        self.log.say(
            f"[{duration(self.seconds)}] {stage.name} {n}"
            + (f"/{total}" if total < math.inf else "")
            + f": recall {100 * summary['recall']:.1f} %{tail} | {shown} | {speed:.2f} steps/s, {gib:.1f} GiB, "
            + f"{duration(left)} left"
        )
        if runaways > self.runaways:
            self.log.warn(f"{runaways - self.runaways} memories grew beyond all bounds and were emptied")
        self.runaways = runaways
        if finite.sum() * 2 > len(finite):
            self.unsound = 0
        elif len(finite) > 2:
            self.unsound += 1
        if self.unsound >= UNSOUND_REPORTS:
            raise TrainError(self.not_finite())
        return entry

    def reached(self, until, entry):
        if not until:
            return False
        found = {"recall": entry["recall"], "recall.tail": entry["recall_tail"], "recall.open": entry["recall_open"]}
        found |= {f"recall.{name}": value for name, value in entry["by_task"].items()}
        return all((found.get(key) or 0) >= value for key, value in until.items())

    def start_held_out(self, stage):
        self.held_out.start(
            shape=stage.shape,
            mix=stage.mix,
            batch=stage.batch,
            seed=f"held-out-{self.recipe.training.seed}",
            split="heldOut",
            keep=False,
        )

    def evaluate(self, stage, evaluation):
        start, tally = time.time(), Tally(self.tasks)
        sums, chunks = {}, evaluation.chunks
        for batch, output in self.step.evaluate(self.held_out.next() for _ in range(chunks)):
            tally.add(batch, output)
            for name in LOSSES[:-1]:
                sums[name] = sums.get(name, 0.0) + output[name].item() / chunks
        self.start_held_out(stage)
        numbers = torch.tensor(tally.numbers() + list(sums.values()), dtype=torch.float64, device=self.device)
        numbers = self.world.sum_(numbers).tolist()
        tally.take(numbers[: len(numbers) - len(sums)])
        losses = dict(zip(sums, (round(v, 4) for v in numbers[-len(sums) :])))
        summary = tally.summary()
        self.evaluation_seconds = max(self.evaluation_seconds, time.time() - start + 5)
        self.log.write(
            stage=self.position["stage"], name=stage.name, step=self.position["step"], held_out=summary, losses=losses
        )
        tasks = ", ".join(f"{name} {100 * value:.1f} %" for name, value in summary["by_task"].items())
        ages = " · ".join(f"{age}: {100 * value:.0f}" for age, value in summary["by_age"].items())
        self.log.say(
            f"[{duration(self.seconds)}] held out: recall {100 * summary['recall']:.1f} % "
            f"of {summary['questions']} ({tasks}); "
            f"by age in segments {ages}; {time.time() - start:.0f} s"
        )
        return summary

    def check_language(self, check):
        from armt_train.loop.language import language_batches, language_check

        start = time.time()
        found = language_check(self.step, language_batches(self.held_out, check))
        self.log.write(language=found)
        for name, values in found.items():
            self.log.say(
                f"loss a token on plain text, {name.replace('_', ' ')}: " + " ".join(f"{v:.3f}" for v in values)
            )
        self.log.say(f"{time.time() - start:.0f} s")

    def save(self, n, between_stages=False):
        """Trained weights by the first rank, and every rank's whole state. What a loss that is not finite left of
        the weights does not replace good ones.
        """
        if self.unsound:
            return
        self.position["seconds"] = self.before + self.seconds
        self.position["in_stage"] = 0.0 if between_stages else time.time() - self.stage_start
        if self.world.is_first:
            count = saving.save_trained(self.options.out, self.model, self.step.slots, self.position)
            if count > 2:
                self.log.say(f"trained weights: {count} files of 16 MiB")
        if self.options.keep_state:
            streams = None if between_stages else self.workers.states()
            saving.save_state(self.options.out, self.world, self.step, dict(self.position), streams)
        self.last_save = time.time()

    def not_finite(self):
        return (
            f"the loss is no longer finite; {self.options.out} has the weights that were saved before. "
            "Start from them (--from) with a smaller training.rate"
        )

    def finish(self, ended):
        if self.unsound:
            raise TrainError(self.not_finite())
        entry = {"ended": ended, "position": self.position}
        if self.recipe.language_check is not None and not self.stopped:
            self.step.release_graphs()
            self.check_language(self.recipe.language_check)
        if self.world.is_first:
            from armt_train.export.memory_file import export_memory
            from armt_train.loop.plot import plot

            out = self.options.out
            training = {"steps": self.position["done"], "seconds": round(self.position["seconds"])}
            if self.recipe.training.tune != "all":
                entry["memory"] = str(
                    export_memory(out / "memory.gguf", self.base, self.model, self.recipe, "q8_0", training)
                )
            self.log.write(**entry)
            try:
                picture = plot(out)
            except ImportError:
                picture = None
                self.log.warn("no picture of the run: matplotlib is not installed")
            self.log.say(f"{ended}: {out}" + (f", {picture.name}" if picture else ""))
        self.world.wait()
        return entry
