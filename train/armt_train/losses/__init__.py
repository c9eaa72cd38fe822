"""Losses: answers and language, slots, and what keeps the base as it was."""
