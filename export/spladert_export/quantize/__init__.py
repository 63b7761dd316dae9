"""Quantization of an exported fp32 graph."""
