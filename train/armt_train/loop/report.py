"""What a run says: log.jsonl, lines with the time left, and tables of recall."""

import json
import math
import sys
import time

import numpy as np


def age_bucket(age):
    return 0 if age == 0 else 2 ** int(math.log2(age))


class Tally:
    """Questions and right answers by task and by age of the evidence, in segments; adds up over GPUs."""

    AGES = 24  # buckets: 0, 1, 2, 4, …

    def __init__(self, tasks):
        self.tasks = list(tasks)
        self.counts = [[[0, 0] for _ in range(self.AGES)] for _ in range(len(self.tasks) + 1)]
        self.tail = [0, 0]
        self.open = [0, 0]  # of the tail's questions, those about a fact of the open segment

    def add(self, batch, output):
        right = output["asked_right"].cpu().numpy()
        for task, age, ok in zip(batch["asked_task"].ravel(), batch["asked_age"].ravel(), right.ravel()):
            if task < 0:
                continue
            bucket = 0 if age < 0 else min(self.AGES - 1, 0 if age == 0 else 1 + int(math.log2(age)))
            cell = self.counts[min(int(task), len(self.tasks))][bucket]
            cell[0] += 1
            cell[1] += bool(ok)
        asked = batch["tail_weight"].sum(-1) > 0
        right = output["tail_right"].cpu().numpy()
        is_open = asked & batch["tail_open"] if "tail_open" in batch else np.zeros_like(asked)
        for count, chosen in ((self.tail, asked & ~is_open), (self.open, is_open)):
            count[0] += int(chosen.sum())
            count[1] += int(right[chosen].sum())

    def numbers(self):
        return [n for task in self.counts for cell in task for n in cell] + self.tail + self.open

    def take(self, numbers):
        numbers = [int(n) for n in numbers]
        for task in self.counts:
            for cell in task:
                cell[0], cell[1] = numbers.pop(0), numbers.pop(0)
        self.tail, self.open = numbers[:2], numbers[2:]

    @staticmethod
    def share(asked, right):
        return round(right / asked, 4) if asked else None

    def summary(self):
        cells = [cell for task in self.counts for cell in task]
        asked = sum(n for n, _ in cells)
        by_task, by_age = {}, {}
        for name, task in zip([*self.tasks, "other"], self.counts):
            n = sum(c[0] for c in task)
            if n:
                by_task[name] = self.share(n, sum(c[1] for c in task))
        for i in range(self.AGES):
            n = sum(task[i][0] for task in self.counts)
            if n:
                by_age[str(0 if i == 0 else 2 ** (i - 1))] = self.share(n, sum(task[i][1] for task in self.counts))
        return {
            "recall": self.share(asked, sum(k for _, k in cells)) or 0.0,
            "questions": asked,
            "recall_tail": self.share(*self.tail),
            "recall_open": self.share(*self.open),
            "by_task": by_task,
            "by_age": by_age,
        }


class Log:
    """Appends lines to log.jsonl and prints them; silent but on the first rank."""

    def __init__(self, folder, active, begin, before=0.0):
        self.path, self.file, self.active = folder / "log.jsonl", None, active
        self.begin, self.before = begin, before

    @property
    def seconds(self):
        return time.time() - self.begin

    def write(self, **entry):
        if not self.active:
            return
        self.file = self.file or open(self.path, "a")
        entry = {"seconds": round(self.before + self.seconds, 1), **entry}
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()

    def say(self, text):
        if self.active:
            print(text, flush=True)

    def warn(self, text):
        if self.active:
            print(text, file=sys.stderr, flush=True)


def duration(seconds):
    if seconds is None or not math.isfinite(seconds):
        return "?"
    seconds = int(seconds)
    if seconds >= 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"
    return f"{seconds // 60} min {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"
