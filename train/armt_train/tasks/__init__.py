"""Tasks for a memory: streams of prose with facts, stories, needles and the prose itself to be asked for."""

from armt_train.tasks.corpus import Corpus
from armt_train.tasks.streams import TASKS, Batches

__all__ = ["TASKS", "Batches", "Corpus"]
