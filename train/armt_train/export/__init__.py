"""The memory's file (docs/memory-file.md), and whole checkpoints for checks."""
