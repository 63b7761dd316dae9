"""Random encoders for the compiled engine, and what they compute in plain numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spladert.engine.native.description import Activation, Encoder, Layer, Linear, Norm, Quantization, Table

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """What varies between encoders; the defaults are a small ModernBERT."""

    layers: int = 2
    heads: int = 2
    head_size: int = 64
    intermediate: int = 96
    vocabulary: int = 333
    max_length: int = 160
    top_k: int = 20
    gated: bool = True
    post_norm: bool = False
    rotary: bool = True
    positions: bool = False
    position_pad: int = -1
    window: int = 0
    biases: bool = False
    activation: Activation = "gelu"
    float_layers: bool = False


BERT = Shape(gated=False, post_norm=True, rotary=False, positions=True, biases=True, intermediate=128)
SHAPES = {
    "modernbert": Shape(window=20),
    "narrow-heads": Shape(heads=4, head_size=32, window=70),
    "odd-heads": Shape(heads=3, head_size=64, intermediate=80, biases=True),
    "bert": BERT,
    "bert-relu": Shape(gated=False, post_norm=True, rotary=False, positions=True, intermediate=64, activation="relu"),
    "roberta": Shape(**{**BERT.__dict__, "heads": 2, "head_size": 96, "position_pad": 1}),
    "wide-heads": Shape(heads=1, head_size=128, gated=False, intermediate=64),
    "float": Shape(float_layers=True, biases=True, window=20),
    "one-layer": Shape(layers=1, top_k=333),
}
LENGTHS = (1, 2, 15, 16, 17, 31, 33, 64, 65, 127, 160)


def make_encoder(shape: Shape, seed: int = 0) -> Encoder:
    rng = np.random.default_rng(seed)
    hidden, inner = shape.heads * shape.head_size, shape.intermediate

    def floats(*size: int, scale: float = 1.0) -> Floats:
        return (rng.standard_normal(size) * scale).astype(np.float32)

    def linear(rows: int, columns: int) -> Linear:
        bias = floats(columns, scale=0.1) if shape.biases else None
        if shape.float_layers:
            return Linear(floats(rows, columns, scale=rows**-0.5), None, bias)
        scale = rng.uniform(0.5, 1.5, columns).astype(np.float32) / np.float32(37 * math.sqrt(rows))
        return Linear(rng.integers(-64, 65, (rows, columns)).astype(np.int8), scale, bias)

    def quantization() -> Quantization:
        return Quantization() if shape.float_layers else Quantization(float(rng.uniform(0.02, 0.04)), 120)

    def norm() -> Norm:
        bias = floats(hidden, scale=0.1) if shape.biases else None
        return Norm(1 + floats(hidden, scale=0.1), bias, 1e-5)

    angles = np.arange(shape.max_length)[:, None] * 0.3 ** np.arange(shape.head_size // 2)[None]
    cos, sin = (np.ascontiguousarray(f(angles), np.float32) for f in (np.cos, np.sin))
    layers = tuple(
        Layer(
            query=linear(hidden, hidden),
            key=linear(hidden, hidden),
            value=linear(hidden, hidden),
            output=linear(hidden, hidden),
            gate=linear(hidden, inner) if shape.gated else None,
            up=linear(hidden, inner),
            down=linear(inner, hidden),
            attention_input=quantization(),
            output_input=quantization(),
            mlp_input=quantization(),
            down_input=quantization(),
            after_attention=norm(),
            after_mlp=norm(),
            cos=cos if shape.rotary else None,
            sin=sin if shape.rotary else None,
            attention_scale=shape.head_size**-0.5,
            window=shape.window if number % 2 else 0,
        )
        for number in range(shape.layers)
    )
    high, low = (rng.integers(-limit, limit + 1, (shape.vocabulary, hidden)).astype(np.int8) for limit in (64, 127))
    table = Table(high, low, (rng.uniform(0.5, 1.5, shape.vocabulary) / (37 * math.sqrt(hidden))).astype(np.float32))
    return Encoder(
        layers=layers,
        heads=shape.heads,
        head_size=shape.head_size,
        intermediate=inner,
        activation=shape.activation,
        head_activation=shape.activation,
        post_norm=shape.post_norm,
        words=Table(high, low, table.scale * 10),
        position=floats(shape.max_length + 2, hidden) if shape.positions else None,
        position_pad=shape.position_pad,
        token_type=floats(hidden) if shape.positions else None,
        embedding_norm=norm(),
        head=linear(hidden, hidden),
        head_input=quantization(),
        head_norm=norm(),
        decoder=table,
        decoder_bias=floats(shape.vocabulary, scale=0.1),
        decoder_input=Quantization(0.03, 100),
        top_k=shape.top_k,
    )


def logits(encoder: Encoder, row: list[int]) -> tuple[Floats, Floats]:
    """(logits by the decoder's integers, exact logits), float32 [V] each: winners are chosen by the first."""
    words, count = encoder.words, len(row)
    whole = words.high.astype(np.float32) + words.low.astype(np.float32) / 256
    x = whole[row] * words.scale[row][:, None]
    if encoder.token_type is not None:
        x = x + encoder.token_type
    if encoder.position is not None:
        pad = encoder.position_pad
        seen = np.cumsum([token != pad for token in row])
        places = np.arange(count) if pad < 0 else np.where(np.array(row) == pad, pad, pad + seen)
        x = x + encoder.position[places]
    x = read = _norm(x, encoder.embedding_norm)
    for layer in encoder.layers:
        context = _attention(encoder, layer, _quantize(read, layer.attention_input))
        x = x + _product(_quantize(context, layer.output_input), layer.output)
        read = _norm(x, layer.after_attention)
        x = read if encoder.post_norm else x
        taken = _quantize(read, layer.mlp_input)
        up = _product(taken, layer.up)
        gate = up if layer.gate is None else _product(taken, layer.gate)
        inner = _activate(gate, encoder.activation) * (1 if layer.gate is None else up)
        x = x + _product(_quantize(inner, layer.down_input), layer.down)
        read = _norm(x, layer.after_mlp)
        x = read if encoder.post_norm else x
    head = _product(_quantize(read, encoder.head_input), encoder.head)
    x = _norm(_activate(head, encoder.head_activation), encoder.head_norm)
    decoder = encoder.decoder
    rows = decoder.high.astype(np.float32)
    chosen = (_quantize(x, encoder.decoder_input) @ rows.T).max(axis=0) * decoder.scale + encoder.decoder_bias
    exact = (x @ (rows + decoder.low.astype(np.float32) / 256).T).max(axis=0) * decoder.scale + encoder.decoder_bias
    return chosen.astype(np.float32), exact.astype(np.float32)


def attention(q: Floats, k: Floats, v: Floats, scale: float, window: int) -> Floats:
    """softmax(q k^T * scale) v of one head, [S, D]; a token attends to `window` others to either side, 0: to all."""
    scores = q.astype(np.float64) @ k.T.astype(np.float64) * scale
    if window:
        distance = np.abs(np.arange(len(q))[:, None] - np.arange(len(q))[None])
        scores[distance > window] = -np.inf
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True) @ v, np.float32)


def to_bytes(x: Floats, to: Quantization) -> NDArray[np.uint8]:
    return np.clip(np.rint(x / to.scale + to.zero_point), 0, 255).astype(np.uint8)


def gelu(x: Floats) -> Floats:
    return np.array([value * 0.5 * math.erfc(-value / math.sqrt(2)) for value in x.ravel()], np.float32).reshape(
        x.shape
    )


def _attention(encoder: Encoder, layer: Layer, x: Floats) -> Floats:
    parts = [_product(x, linear) for linear in (layer.query, layer.key, layer.value)]
    size, out = encoder.head_size, []
    for head in range(encoder.heads):
        q, k, v = (part[:, head * size : (head + 1) * size] for part in parts)
        if layer.cos is not None and layer.sin is not None:
            q, k = (_rotate(part, layer.cos[: len(x)], layer.sin[: len(x)]) for part in (q, k))
        out.append(attention(q, k, v, layer.attention_scale, layer.window))
    return np.concatenate(out, axis=1)


def _rotate(x: Floats, cos: Floats, sin: Floats) -> Floats:
    a, b = np.split(x, 2, axis=1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=1)


def _quantize(x: Floats, to: Quantization) -> Floats:
    return x if to.scale == 0 else (to_bytes(x, to).astype(np.float32) - to.zero_point) * np.float32(to.scale)


def _product(x: Floats, linear: Linear) -> Floats:
    weight = linear.weight.astype(np.float32) * (1 if linear.scale is None else linear.scale)
    return x @ weight + (0 if linear.bias is None else linear.bias)


def _norm(x: Floats, norm: Norm) -> Floats:
    centred = x - x.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + norm.epsilon) * norm.weight
    return scaled if norm.bias is None else scaled + norm.bias


def _activate(x: Floats, activation: Activation) -> Floats:
    return gelu(x) if activation == "gelu" else np.maximum(x, 0)


def rows_of(lengths: tuple[int, ...], vocabulary: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, vocabulary, length).tolist() for length in lengths]


def assert_near_logits(
    shape: Shape, rows: list[list[int]], indices: NDArray[np.int32], values: Floats, error: float
) -> None:
    """That an engine's results for a shape's encoder are those of plain arithmetic, to an error of their deviation."""
    encoder = make_encoder(shape)
    overlaps, errors = [], []
    for row, ids, weights in zip(rows, indices, values, strict=True):
        chosen, exact = logits(encoder, row)
        overlaps.append(len({*ids} & {*np.argsort(-chosen)[: shape.top_k]}) / shape.top_k)
        errors.append((np.expm1(weights) - np.maximum(exact[ids], 0)) / np.std(exact))
        assert (np.diff(weights) <= 0).all()
        assert len({*ids}) == shape.top_k
    # A difference in the last place may round to another integer, from which a few more follow.
    assert np.sqrt(np.mean(np.square(errors))) < error
    assert np.mean(overlaps) > 0.95
