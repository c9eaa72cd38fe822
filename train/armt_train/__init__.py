"""Trains an associative memory (ARMT, arXiv 2407.04841) for a public language model."""

__version__ = "0.1.0"
