"""The encoder that the compiled engine runs, as plain data: what `describe` makes of a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Activation = Literal["gelu", "relu"]


class NotCoveredError(Exception):
    """The compiled engine does not cover a graph; the message says why."""


@dataclass(frozen=True, eq=False)
class Linear:
    """y = x @ weight + bias; weight [K, N] is int8 with `scale` [N], or float32 without."""

    weight: NDArray[Any]
    scale: NDArray[np.float32] | None
    bias: NDArray[np.float32] | None


@dataclass(frozen=True)
class Quantization:
    """x ~ (q - zero_point) * scale, q uint8; scale 0: the activation stays float32."""

    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True, eq=False)
class Norm:
    """Layer normalization over the last axis, weight and bias [H]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    epsilon: float


@dataclass(frozen=True, eq=False)
class Layer:
    """One encoder layer. `gate` is None where the MLP has none; `cos` and `sin` are [max_length, head_size / 2].

    `window` is how many tokens to either side a token attends to, 0 for all.
    """

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    gate: Linear | None
    up: Linear
    down: Linear
    attention_input: Quantization
    output_input: Quantization
    mlp_input: Quantization
    down_input: Quantization
    after_attention: Norm
    after_mlp: Norm
    cos: NDArray[np.float32] | None
    sin: NDArray[np.float32] | None
    attention_scale: float
    window: int


@dataclass(frozen=True, eq=False)
class Table:
    """Vocabulary rows, scale * (high + low / 256): int8 [V, H] and float32 [V]."""

    high: NDArray[np.int8]
    low: NDArray[np.int8]
    scale: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Encoder:
    """A whole encoder.

    Attributes:
        post_norm: the residual stream itself is normalized (BERT), not only what the layers read (ModernBERT).
        position: learned positions, float32 [P, H].
        position_pad: -1 where position t is that of token t; else RoBERTa's padding id, from which positions count.
        token_type: the row of token type 0, float32 [H].
    """

    layers: tuple[Layer, ...]
    heads: int
    head_size: int
    intermediate: int
    activation: Activation
    head_activation: Activation
    post_norm: bool
    words: Table
    position: NDArray[np.float32] | None
    position_pad: int
    token_type: NDArray[np.float32] | None
    embedding_norm: Norm
    head: Linear
    head_input: Quantization
    head_norm: Norm
    decoder: Table
    decoder_bias: NDArray[np.float32]
    decoder_input: Quantization
    top_k: int
