"""Graphs for GPUs, made out of the CPU's fp32 graph."""

from .variants import GPU_VARIANTS, Job, make_gpu_variant, refuse_gpu

__all__ = ["GPU_VARIANTS", "Job", "make_gpu_variant", "refuse_gpu"]
