"""Checkpoints: where their files are, what they compute, how long their texts may be, and what is refused."""

from .load import Checkpoint, load_checkpoint
from .supported import Support, supported

__all__ = ["Checkpoint", "Support", "load_checkpoint", "supported"]
