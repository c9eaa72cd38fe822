"""Public base models: their weights in transformers' layers, their tokenizer, and their fingerprint."""

from armt_train.base.load import Base, load_base
from armt_train.base.tokenizer import BaseTokenizer

__all__ = ["Base", "BaseTokenizer", "load_base"]
