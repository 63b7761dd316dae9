"""int4: weights of 4 bits with a scale and a zero point for each block of rows; activations stay in float32.

The kernel (com.microsoft MatMulNBits) rounds each row of activations by itself, so a text's vector does not depend on
what else is in its batch. The vocabulary is that of int8, one table for the embedding and the decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from ..calibration import Observed
from ..graph.edit import Floats, initializer, replace_node
from .search import ALPHAS, relative_error
from .sites import Linear, Site, largest_weights
from .smooth import smoothing_factors

BLOCK = 32  # rows of a block, the smallest that all of ONNX Runtime's kernels take
HIGHEST = 15
CLIP_RATIOS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)  # of a block's range; the least weighted error wins
INT8_ACTIVATIONS = 4  # MatMulNBits' accuracy_level


@dataclass(frozen=True)
class Int4Choice:
    """How a site's weights are quantized.

    Attributes:
        site: the site's role.
        alpha: SmoothQuant's, None without smoothing.
        error: |Y' - Y| / |Y| of a sample of the layers' outputs on the calibration rows.
    """

    site: str
    alpha: float | None
    error: float


@dataclass(frozen=True)
class Blocks:
    """A weight [K, N] as integers 0..15, scales and zero points: weight ~ (integers - zero_points) * scales.

    Attributes:
        integers: uint8 [blocks, BLOCK, N], K padded to whole blocks.
        scales: float32 [blocks, 1, N].
        zero_points: uint8 [blocks, 1, N].
    """

    integers: NDArray[np.uint8]
    scales: Floats
    zero_points: NDArray[np.uint8]

    def weight(self, rows: int) -> Floats:
        """The quantized weight, float32 [rows, N]."""
        whole = (self.integers.astype(np.float32) - self.zero_points) * self.scales
        return np.asarray(whole.reshape(-1, whole.shape[-1])[:rows])


@dataclass(frozen=True)
class PackedWeight:
    """`Blocks` of a weight of `shape` [K, N] as the kernel reads them.

    Attributes:
        integers: uint8 [N, blocks, BLOCK / 2], two to a byte.
        scales: float32 [N * blocks].
        zero_points: uint8 [N * ceil(blocks / 2)], two to a byte.
    """

    shape: tuple[int, ...]
    integers: NDArray[np.uint8]
    scales: Floats
    zero_points: NDArray[np.uint8]


def importance(observed: Observed, factors: Floats | None) -> Floats:
    """float32 [K]: mean square of each channel of the (smoothed) activation; errors of its weights count by it."""
    rows = observed.rows if factors is None else observed.rows / factors
    return np.asarray((rows**2).mean(axis=0) + 1e-9)


def quantize_blocks(weight: Floats, channel_importance: Floats) -> Blocks:
    """Round a weight [K, N] to 4 bits; each block's range is the one with the least importance-weighted error."""
    rows, columns = weight.shape
    padding = -rows % BLOCK
    blocks = torch.from_numpy(np.pad(weight, ((0, padding), (0, 0)))).view(-1, BLOCK, columns)
    counts = torch.from_numpy(np.pad(channel_importance, (0, padding))).view(-1, 1, BLOCK)
    low = blocks.amin(dim=1, keepdim=True).clamp(max=0)
    high = blocks.amax(dim=1, keepdim=True).clamp(min=0)
    work = torch.empty_like(blocks)
    best: tuple[torch.Tensor, ...] | None = None
    for ratio in CLIP_RATIOS:
        scales = ((high - low) * (ratio / HIGHEST)).clamp(min=1e-8)  # [blocks, 1, N]
        zero_points = (-low * ratio / scales).round().clamp(0, HIGHEST)
        torch.div(blocks, scales, out=work)
        torch.clamp(work.round_(), -zero_points, HIGHEST - zero_points, out=work)
        difference = work.mul_(scales).sub_(blocks)
        error = torch.bmm(counts, difference.square_())  # [blocks, 1, N]
        found = (error, scales, zero_points)
        if best is None:
            best = found
        else:
            better = error < best[0]
            best = tuple(torch.where(better, new, old) for new, old in zip(found, best, strict=True))
    assert best is not None
    _, scales, zero_points = best
    integers = torch.div(blocks, scales, out=work).round_().add_(zero_points).clamp_(0, HIGHEST)
    return Blocks(integers.to(torch.uint8).numpy(), scales.numpy(), zero_points.to(torch.uint8).numpy())


def choose_int4(
    site: Site, observed: Observed, *, alphas: Sequence[float | None] = ALPHAS
) -> tuple[Int4Choice, Floats | None]:
    """The alpha with the least error of the site's outputs, and the factors of its smoothing, None without."""
    heaviest = largest_weights(site)
    weights = [linear.sample() for linear in site.linears]  # [K, N] each
    exact = [observed.rows @ weight for weight in weights]
    candidates = []
    for alpha in alphas:
        factors = None if alpha is None else smoothing_factors(observed, heaviest, alpha)
        divisor = np.ones_like(heaviest) if factors is None else factors
        rows: Floats = np.asarray(observed.rows / divisor, dtype=np.float32)
        counts = importance(observed, factors)
        made = [rows @ quantize_blocks(w * divisor[:, None], counts).weight(len(w)) for w in weights]
        candidates.append((Int4Choice(site.role, alpha, relative_error(made, exact)), factors))
    return min(candidates, key=lambda candidate: candidate[0].error)


def quantize_linear(linear: Linear, channel_importance: Floats) -> PackedWeight:
    """The weight of a linear layer as MatMulNBits reads it."""
    weight = linear.weight
    blocks = quantize_blocks(weight, channel_importance)
    scales = np.ascontiguousarray(blocks.scales[:, 0].T).reshape(-1)
    return PackedWeight(weight.shape, _pack(blocks.integers), scales, _pack_zero_points(blocks.zero_points).reshape(-1))


def replace_linear(graph: ir.Graph, linear: Linear, weight: PackedWeight) -> None:
    """A MatMulNBits in the place of a linear layer."""
    rows, columns = weight.shape
    inputs = [
        linear.node.inputs[0],
        initializer(graph, f"{linear.output}.weight.int4", weight.integers),
        initializer(graph, f"{linear.output}.weight.scale", weight.scales),
        initializer(graph, f"{linear.output}.weight.zero_point", weight.zero_points),
    ]
    attributes = {"K": rows, "N": columns, "bits": 4, "block_size": BLOCK, "accuracy_level": INT8_ACTIVATIONS}
    replace_node(graph, linear.node, [ir.node("MatMulNBits", inputs, attributes, domain="com.microsoft")])


def _pack(integers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [N, blocks, BLOCK / 2] of integers [blocks, BLOCK, N]: two to a byte, the even one in the low half."""
    ordered = integers.transpose(2, 0, 1)
    return np.ascontiguousarray(ordered[..., 0::2] | (ordered[..., 1::2] << 4))


def _pack_zero_points(zero_points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [N, ceil(blocks / 2)], packed along the blocks."""
    ordered = zero_points[:, 0].T  # [N, blocks]
    if ordered.shape[1] % 2:
        ordered = np.pad(ordered, ((0, 0), (0, 1)))
    return np.ascontiguousarray(ordered[:, 0::2] | (ordered[:, 1::2] << 4))
