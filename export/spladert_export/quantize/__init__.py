"""Quantization of an exported fp32 graph."""

from .calibrate import observe
from .quantize import Plan, Scheme, make_plans, quantize, settings
from .sites import find_sites

__all__ = ["Plan", "Scheme", "find_sites", "make_plans", "observe", "quantize", "settings"]
