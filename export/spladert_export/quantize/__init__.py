"""Quantization of an exported fp32 graph."""

from .calibrate import observe
from .int8 import quantize_int8, settings

__all__ = ["observe", "quantize_int8", "settings"]
