"""Processes that make batches, and the state of their streams, so that a run can go on with the same data."""

import io
import multiprocessing as mp
import os
import pickle
import queue
import signal
from collections import deque

import numpy as np
import torch

from armt_train.errors import TrainError

AHEAD = 3  # batches that a worker makes in advance


class _Pickler(pickle.Pickler):
    """Leaves out what is the same in every process: the tokenizer, the corpus, and what the corpus holds."""

    def __init__(self, file, shared):
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.shared = shared

    def persistent_id(self, thing):
        return self.shared.get(id(thing))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, things):
        super().__init__(file)
        self.things = things

    def persistent_load(self, name):
        return self.things[name]


def is_shared(value):
    return isinstance(value, (list, dict, tuple, set, frozenset, np.ndarray)) or hasattr(value, "__dict__")


class Source:
    """Makes `Batches` of stages, and saves and restores their state."""

    def __init__(self, batches, tokenizer, corpus):
        self.batches, self.tokenizer, self.corpus = batches, tokenizer, corpus
        self.things = {"tokenizer": tokenizer, "corpus": corpus}
        for name, value in getattr(corpus, "__dict__", {}).items():
            if is_shared(value):
                self.things.setdefault(f"corpus.{name}", value)
                for part, inner in getattr(value, "__dict__", {}).items():
                    if is_shared(inner):
                        self.things.setdefault(f"corpus.{name}.{part}", inner)
        self.shared = {id(value): name for name, value in self.things.items()}

    def make(self, job):
        return self.batches(
            self.tokenizer, self.corpus, job["shape"], job["mix"], job["batch"], job["seed"], job["split"]
        )

    def dump(self, made):
        file = io.BytesIO()
        _Pickler(file, self.shared).dump(made)
        return file.getvalue()

    def load(self, state):
        return _Unpickler(io.BytesIO(state), self.things).load()


class Worker:
    """A process that makes batches. Its commands are jobs, and numbers: the state of the streams after so many batches
    is wanted.
    """

    def __init__(self, source, commands, batches, answers):
        self.source, self.commands, self.batches, self.answers = source, commands, batches, answers
        self.parent = os.getppid()
        self.job = self.made = None

    def run(self):
        # the run ends its workers itself
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        torch.set_num_threads(1)
        try:
            while os.getppid() == self.parent:
                self.obey(wait=self.made is None)
                if self.made is None:
                    continue
                batch, job = next(self.made), self.job
                self.remember(self.count + 1)
                # until there is room; a new job makes this batch useless
                while (
                    job is self.job
                    and os.getppid() == self.parent
                    and not self.put(self.batches, ("batch", job["id"], batch))
                ):
                    self.obey()
        except Exception as error:  # reported to the run, which ends with it
            for ends in (self.answers, self.batches):
                self.insist(ends, ("error", None, f"{type(error).__name__}: {error}"))

    def obey(self, wait=False):
        try:
            command = self.commands.get(timeout=1) if wait else self.commands.get_nowait()
        except queue.Empty:
            return
        if isinstance(command, int):
            state = next((state for count, state in self.states if count == command), None)
            self.insist(self.answers, ("state", self.job["id"], state))
            return
        self.job = command
        self.made = self.source.load(command["state"]) if command["state"] is not None else self.source.make(command)
        self.states = deque(maxlen=AHEAD + 3)
        self.remember(command["count"])

    def remember(self, count):
        self.count = count
        if self.job["keep"]:
            self.states.append((count, self.source.dump(self.made)))

    @staticmethod
    def put(results, item):
        try:
            results.put(item, timeout=0.2)
        except queue.Full:
            return False
        return True

    def insist(self, results, item):
        while os.getppid() == self.parent and not self.put(results, item):
            pass


def work(source, *ends):
    Worker(source, *ends).run()


class Workers:
    """`count` processes that share the streams of a batch among them.

    `first` is the number of this process's first worker among those of all processes, so that every worker of a run
    has streams of its own.
    """

    def __init__(self, source, count, first=0):
        self.source, self.first = source, first
        context = mp.get_context("fork")
        # commands, batches, and answers of their own: reading batches until an answer comes would let a worker go on
        self.ends = [(context.Queue(), context.Queue(maxsize=AHEAD), context.Queue()) for _ in range(count)]
        self.processes = [context.Process(target=work, args=(source, *ends), daemon=True) for ends in self.ends]
        for process in self.processes:
            process.start()
        self.id = 0
        self.used = []

    def start(self, *, shape, mix, batch, seed, split="train", states=None, count=0, keep=True):
        """Starts streams. `states` of an earlier run (by worker), after `count` batches, go on where it stopped."""
        self.id += 1
        self.count, self.keep = count, keep
        workers = len(self.ends)
        shares = [batch // workers + (i < batch % workers) for i in range(workers)]
        self.used = []
        for i, share in enumerate(shares):
            if share:
                state = states[len(self.used)] if states else None
                job = dict(
                    id=self.id,
                    shape=shape,
                    mix=mix,
                    batch=share,
                    seed=f"{seed}-{self.first + i}",
                    split=split,
                    state=state,
                    count=count,
                    keep=keep,
                )
                self.ends[i][0].put(job)
                self.used.append(i)

    def take(self, i, wanted):
        results = self.ends[self.used[i]][2 if wanted == "state" else 1]
        while True:
            try:
                kind, id, value = results.get(timeout=5)
            except queue.Empty:
                if not self.processes[self.used[i]].is_alive():
                    reason = "too little memory is the usual reason"
                    raise TrainError(f"a process that makes the data ended; {reason}") from None
                continue
            if kind == "error":
                raise TrainError(f"making the data failed: {value}")
            if id == self.id:
                return value

    def next(self):
        """The next batch: NumPy arrays by name, the workers' shares one after another."""
        parts = [self.take(i, "batch") for i in range(len(self.used))]
        self.count += 1
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def states(self):
        """States of the streams after the batches that were taken, by worker."""
        for i in self.used:
            self.ends[i][0].put(self.count)
        states = [self.take(i, "state") for i in range(len(self.used))]
        if None in states:
            raise TrainError("the state of the data is gone; go on from the trained weights (--fresh-state)")
        return states

    def stop(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join(1)


class InProcess:
    """The same without processes."""

    def __init__(self, source, first=0):
        self.source, self.first = source, first

    def start(self, *, shape, mix, batch, seed, split="train", states=None, count=0, keep=True):
        job = dict(shape=shape, mix=mix, batch=batch, seed=f"{seed}-{self.first}", split=split)
        self.made = self.source.load(states[0]) if states else self.source.make(job)
        self.count = count

    def next(self):
        self.count += 1
        return next(self.made)

    def states(self):
        return [self.source.dump(self.made)]

    def stop(self):
        pass
