"""ARMT around transformers' decoder layers: the associative memory, the segment loop, and LoRA."""

from armt_train.model.armt import Armt, ArmtConfig, Start

__all__ = ["Armt", "ArmtConfig", "Start"]
