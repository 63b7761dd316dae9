"""Graphs for GPUs, made out of the CPU's fp32 graph."""
