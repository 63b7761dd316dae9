"""Quantization of an exported fp32 graph."""

from .calibrate import observe
from .int8 import Choice, quantize_int8, settings
from .sites import find_sites

__all__ = ["Choice", "find_sites", "observe", "quantize_int8", "settings"]
