"""Sizes that the compiled engine's tiles take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .description import Encoder, Linear, Norm, NotCoveredError

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEAD_SIZES = (32, 64, 96, 128)


def check_sizes(encoder: Encoder) -> None:
    """Check what the tiles need of the sizes, that all layers have the same, and that all arrays have theirs."""
    width, inner = encoder.head.weight.shape[0], encoder.intermediate
    if width % 64:
        raise NotCoveredError(f"hidden size {width}, which is no multiple of 64")
    if encoder.head_size not in HEAD_SIZES or encoder.head_size * encoder.heads != width:
        raise NotCoveredError(f"head size {encoder.head_size}; covered are {', '.join(map(str, HEAD_SIZES))}")
    unit = 32 if encoder.layers[0].gate is None else 16
    if inner % unit or inner < 32:
        raise NotCoveredError(f"intermediate size {inner}, which is no multiple of {unit}")
    _expect("head", encoder.head.weight, (width, width), encoder.head.weight.dtype)
    for layer in encoder.layers:
        for linear in (layer.query, layer.key, layer.value, layer.output):
            _expect("attention", linear.weight, (width, width), linear.weight.dtype)
        for linear in (layer.up, layer.gate or layer.up):
            _expect("MLP", linear.weight, (width, inner), linear.weight.dtype)
        _expect("MLP", layer.down.weight, (inner, width), layer.down.weight.dtype)
        for table in (layer.cos, layer.sin):
            if table is not None:
                _expect("rotary embedding", table, (len(table), encoder.head_size // 2), np.float32)
        if layer.cos is not None and layer.sin is not None and len(layer.cos) != len(layer.sin):
            raise NotCoveredError("a rotary embedding with more cosines than sines")
    for linear in _linears(encoder):
        for vector in (linear.scale, linear.bias):
            if vector is not None:
                _expect("linear layer", vector, linear.weight.shape[1:], np.float32)
    for norm in (encoder.embedding_norm, encoder.head_norm, *_norms(encoder)):
        for vector in (norm.weight, norm.bias):
            if vector is not None:
                _expect("norm", vector, (width,), np.float32)
    rows = len(encoder.words.high)
    for words in (encoder.words, encoder.decoder):
        _expect("vocabulary", words.high, (rows, width), np.int8)
        _expect("vocabulary", words.low, (rows, width), np.int8)
        _expect("vocabulary", words.scale, (rows,), np.float32)
    _expect("decoder", encoder.decoder_bias, (rows,), np.float32)
    if encoder.position is not None:
        _expect("learned positions", encoder.position, (len(encoder.position), width), np.float32)
    if encoder.token_type is not None:
        _expect("token types", encoder.token_type, (width,), np.float32)


def _expect(what: str, array: NDArray[Any], shape: tuple[int, ...], dtype: Any) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise NotCoveredError(
            f"{what} of shape {array.shape} and type {array.dtype}, not {shape} and {np.dtype(dtype)}"
        )


def _norms(encoder: Encoder) -> list[Norm]:
    return [norm for layer in encoder.layers for norm in (layer.after_attention, layer.after_mlp)]


def _linears(encoder: Encoder) -> list[Linear]:
    found = [encoder.head]
    for layer in encoder.layers:
        found += [layer.query, layer.key, layer.value, layer.output, layer.up, layer.down]
        found += [layer.gate] if layer.gate is not None else []
    return found
