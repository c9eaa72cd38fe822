"""The package's own recall model: facts of six kinds in filler text, and questions about them (docs/recall.md)."""

from armt_train.recall.task import TASKS, Batches, Corpus

__all__ = ["TASKS", "Batches", "Corpus"]
