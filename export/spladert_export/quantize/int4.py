"""int4: weights of 4 bits with a scale and a zero point for each block of rows; activations stay in float32.

The kernel (com.microsoft MatMulNBits) rounds each row of activations by itself, so a text's vector does not depend on
what else is in its batch. The vocabulary is that of int8, one table for the embedding and the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .calibrate import Observed
from .edit import add_constant, put_in_place
from .sites import Floats, Site
from .smooth import STRENGTHS, smoothing_factors

BLOCK = 32  # rows of a block, the smallest that all of ONNX Runtime's kernels take
HIGHEST = 15
SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)  # shares of a block's range; the least weighted error wins
INT8_ACTIVATIONS = 4  # MatMulNBits' accuracy_level


@dataclass(frozen=True)
class Int4Choice:
    """How a site's weights are quantized.

    `error` is the relative error |Y' - Y| / |Y| of the layers' outputs on the calibration rows.
    """

    site: str
    strength: float | None
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


def importance(observed: Observed, factors: Floats | None) -> Floats:
    """float32 [K]: mean square of each channel of the (smoothed) activation; errors of its weights count by it."""
    rows = observed.rows if factors is None else observed.rows / factors
    return np.asarray((rows**2).mean(axis=0) + 1e-9)


def quantize_blocks(weight: Floats, channel_importance: Floats) -> Blocks:
    """Round a weight [K, N] to 4 bits; each block's range is the one with the least importance-weighted error."""
    rows, columns = weight.shape
    padded = np.zeros((-(-rows // BLOCK) * BLOCK, columns), np.float32)
    padded[:rows] = weight
    blocks = padded.reshape(-1, BLOCK, columns)
    counted = np.zeros(len(padded), np.float32)
    counted[:rows] = channel_importance
    counts = counted.reshape(-1, BLOCK, 1)
    low = np.minimum(blocks.min(axis=1, keepdims=True), 0)
    high = np.maximum(blocks.max(axis=1, keepdims=True), 0)
    best: tuple[Floats, Blocks] | None = None
    for shrink in SHRINKS:
        scales = np.maximum((high - low) * np.float32(shrink / HIGHEST), np.float32(1e-8))
        zero_points = np.clip(np.rint(-low * np.float32(shrink) / scales), 0, HIGHEST)
        integers = np.clip(np.rint(blocks / scales) + zero_points, 0, HIGHEST)
        error = (counts * ((integers - zero_points) * scales - blocks) ** 2).sum(axis=1, keepdims=True)
        found = Blocks(integers.astype(np.uint8), scales, zero_points.astype(np.uint8))
        if best is None:
            best = error, found
        else:
            better = error < best[0]
            pairs = zip((found.integers, scales, found.zero_points), vars(best[1]).values(), strict=True)
            best = np.minimum(error, best[0]), Blocks(*(np.where(better, new, old) for new, old in pairs))
    assert best is not None
    return best[1]


def choose_int4(site: Site, observed: Observed, *, smoothable: bool) -> tuple[Int4Choice, Floats | None]:
    """The smoothing with the least error of the site's outputs, and its factors."""
    weight = np.concatenate([linear.weight for linear in site.linears], axis=1)  # [K, N]
    exact = observed.rows @ weight
    norm = float(np.linalg.norm(exact)) or 1.0
    candidates = []
    for strength in STRENGTHS if smoothable else (None,):
        factors = None if strength is None else smoothing_factors(observed, weight, strength)
        divisor = np.ones(len(weight), np.float32) if factors is None else factors
        rounded = quantize_blocks(weight * divisor[:, None], importance(observed, factors)).weight(len(weight))
        error = float(np.linalg.norm(observed.rows / divisor @ rounded - exact)) / norm
        candidates.append((Int4Choice(site.name, strength, error), factors))
    return min(candidates, key=lambda candidate: candidate[0].error)


def replace_int4(graph: ir.Graph, site: Site, channel_importance: Floats) -> None:
    """A MatMulNBits for each of the site's linear layers, whose weights are smoothed already."""
    for linear in site.linears:
        rows, columns = linear.weight.shape
        blocks = quantize_blocks(linear.weight, channel_importance)
        output = str(linear.node.outputs[0].name)
        inputs = [
            site.activation,
            add_constant(graph, f"{output}.weight.int4", _pack(blocks.integers)),
            add_constant(graph, f"{output}.weight.scale", np.ascontiguousarray(blocks.scales[:, 0].T).reshape(-1)),
            add_constant(graph, f"{output}.weight.zero_point", _pack_zero_points(blocks.zero_points).reshape(-1)),
        ]
        attributes = {"K": rows, "N": columns, "bits": 4, "block_size": BLOCK, "accuracy_level": INT8_ACTIVATIONS}
        put_in_place(graph, linear.node, [ir.node("MatMulNBits", inputs, attributes, domain="com.microsoft")])


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
