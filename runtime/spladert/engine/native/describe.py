"""Recognizing an encoder in a graph: from the embedding on along the residual stream, layer by layer.

What is met must be what is looked for, in operators, order and constants; the first thing that is not is the reason why
the graph is not covered. Nothing is guessed from names.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .description import Activation, Encoder, Layer, Linear, Norm, Quantization, Table
from .graph import Graph, Node

if TYPE_CHECKING:
    from numpy.typing import NDArray

ACTIVATIONS: dict[str, Activation] = {"Gelu": "gelu", "Relu": "relu"}
HEAD_SIZES = (32, 64, 96, 128)
LOW_STEP = 1 / 256
# Operators that the encoder is made of; each one in the graph has to be met.
COUNTED = (
    "LayerNormalization",
    "MatMulIntegerToFloat",
    "MatMul",
    "QGemm",
    "Attention",
    "RotaryEmbedding",
    "Log",
    *ACTIVATIONS,
)


class NotCoveredError(Exception):
    """The compiled engine does not cover a graph; the message says why."""


def describe(graph: Graph) -> Encoder:
    """The encoder that a cpu-int8 graph computes.

    Raises:
        NotCoveredError: it holds something that the compiled engine does not have.
    """
    try:
        return _Reader(graph).encoder()
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # an input or an attribute is missing or odd
        raise NotCoveredError(f"a node or a constant that does not fit its operator ({error})") from None


class _Reader:
    """Walks the graph once, and counts what it meets."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.met: Counter[str] = Counter()

    def encoder(self) -> Encoder:
        words, value, position, position_pad, token_type = self._embedding()
        embedding_norm, value = self._norm(value)
        layers: list[Layer] = []
        heads, activation, post_norms = set[int](), set[Activation](), set[bool]()
        stream = value
        while len(self._readers(value)) > 1:
            layer, stream, value, seen = self._layer(stream, value)
            layers.append(layer)
            heads.add(seen[0])
            activation.add(seen[1])
            post_norms.add(seen[2])
        if not layers or len(heads) != 1 or len(activation) != 1 or len(post_norms) != 1:
            raise NotCoveredError("layers that differ in heads, activation or the place of their norms")
        head_input, (head_node,) = self._readers(value), self._readers(value)
        head, value = self._linear(head_node)
        head_activation, value = self._activation(value)
        head_norm, value = self._norm(value)
        decoder, bias, decoder_input, top_k = self._decoder(value)
        quantization = self._quantization(head_input[0])
        self._check_counts()
        width, count = layers[0].query.weight.shape[0], heads.pop()
        encoder = Encoder(
            layers=tuple(layers),
            heads=count,
            head_size=width // count,
            intermediate=layers[0].up.weight.shape[1],
            activation=activation.pop(),
            head_activation=head_activation,
            post_norm=post_norms.pop(),
            words=words,
            position=position,
            position_pad=position_pad,
            token_type=token_type,
            embedding_norm=embedding_norm,
            head=head,
            head_input=quantization,
            head_norm=head_norm,
            decoder=decoder,
            decoder_bias=bias,
            decoder_input=decoder_input,
            top_k=top_k,
        )
        _check_sizes(encoder)
        return encoder

    # Parts, in the order of the graph.

    def _embedding(self) -> tuple[Table, str, NDArray[np.float32] | None, int, NDArray[np.float32] | None]:
        """The vocabulary's rows, then learned positions and token types in any order."""
        gathers = [node for node in self.graph.users["input_ids"] if node.op_type == "Gather"]
        tables = {self._constant(node.inputs[0]).dtype.name: node for node in gathers}
        arrays = [self._constant(node.inputs[0]) for node in gathers]
        if len(gathers) != 3 or sorted(tables) != ["float32", "int8"]:
            raise NotCoveredError("the embedding is not int8 rows of 15 bits")
        high, low, scale = gathers
        whole = self._only(high.output, "Cast")
        rest = self._only(low.output, "DequantizeLinear")
        if float(self._constant(rest.inputs[1])) != LOW_STEP or arrays[2].dtype != np.float32:
            raise NotCoveredError("the embedding is not int8 rows of 15 bits")
        both = self._only(whole.output, "Add")
        row = self._only(both.output, "Mul")
        if set(both.inputs) != {whole.output, rest.output} or set(row.inputs) != {both.output, scale.output}:
            raise NotCoveredError("the embedding is not int8 rows of 15 bits")
        words = Table(arrays[0], arrays[1], arrays[2].reshape(-1))
        value, position, position_pad, token_type = row.output, None, -1, None
        while (add := self._next(value)).op_type == "Add":
            other = self.graph.producers.get(self._other(add, value))
            if other is None or other.op_type != "Gather":
                raise NotCoveredError("something is added to the embedding that is no table")
            table, indices = self._constant(other.inputs[0]), other.inputs[1]
            kind, pad = self._indices(indices)
            if kind == "type" and token_type is None:
                token_type = np.ascontiguousarray(table[0])
            elif kind == "position" and position is None:
                position, position_pad = table, pad
            else:
                raise NotCoveredError("a table of the embedding that is neither of positions nor of token types")
            value = add.output
        return words, value, position, position_pad, token_type

    def _indices(self, value: str) -> tuple[str, int]:
        """What a table is read by: ("position", the padding id or -1) or ("type", -1)."""
        above = self.graph.ancestors(value)
        kinds = Counter(node.op_type for node in above)
        constants = [
            self.graph.constants[name] for node in above for name in node.inputs if name in self.graph.constants
        ]
        if kinds["GatherElements"] == 1:  # token types: a row of zeros, read by position
            gather = next(node for node in above if node.op_type == "GatherElements")
            rows = self._source(gather.inputs[0])
            if rows is not None and not rows.any():
                return "type", -1
        elif kinds["CumSum"] == 1 and kinds["Equal"] == 1:  # RoBERTa's: pad + the number of tokens so far, not padding
            equal = next(node for node in above if node.op_type == "Equal")
            pad = int(self._constant(equal.inputs[1]))
            added = [self._constant(node.inputs[1]) for node in above if node.op_type == "Add"]
            known = {"Equal", "Not", "Cast", "CumSum", "Mul", "Add"}
            if equal.inputs[0] == "input_ids" and set(kinds) <= known and sum(map(int, added)) == pad:
                return "position", pad
        elif kinds["Slice"] == 1 and set(kinds) <= {"Slice", "Shape"}:
            rows = next((array for array in constants if array.ndim == 2), None)
            if rows is not None and np.array_equal(rows[0], np.arange(rows.shape[1])):
                return "position", -1
        return "unknown", -1

    def _source(self, value: str) -> NDArray[Any] | None:
        """The constant that a value is, or is expanded from."""
        while value not in self.graph.constants:
            node = self.graph.producers.get(value)
            if node is None or node.op_type != "Expand":
                return None
            value = node.inputs[0]
        return self.graph.constants[value]

    def _layer(self, stream: str, value: str) -> tuple[Layer, str, str, tuple[int, Activation, bool]]:
        """The layer that reads `value`, the stream and the value after it, and (heads, activation, post_norm)."""
        attention_input = self._quantization(self._readers(value)[0])
        linears, attention, rotary = {}, None, []
        for node in self._readers(value):
            linear, out = self._linear(node)
            user = self._next(out)
            if user.op_type == "RotaryEmbedding":
                rotary.append(self._rotary(user))
                out, user = user.output, self._next(user.output)
            attention = user if attention is None else attention
            if user is not attention or user.op_type != "Attention":
                raise NotCoveredError(f"{user.op_type} where an attention's query, key or value was looked for")
            linears[user.inputs.index(out)] = linear
        if attention is None or sorted(linears) != [0, 1, 2] or len(rotary) not in (0, 2):
            raise NotCoveredError("an attention without a query, a key and a value of its own")
        heads, scale, window = self._attention(attention)
        if rotary and any(a is not b for a, b in zip(*rotary, strict=True)):
            raise NotCoveredError("an attention whose query and key are rotated differently")
        output_input, output, value = self._single(attention.output)
        stream = self._residual(stream, value)
        after_attention, value = self._norm_of(stream)
        post_norm = self._next(stream, 0, "LayerNormalization").output == value and len(self.graph.users[stream]) == 1
        stream = value if post_norm else stream
        mlp_input = self._quantization(self._readers(value)[0])
        gate, up, activation, value = self._mlp(self._readers(value))
        down_input, down, value = self._single(value)
        stream = self._residual(stream, value)
        after_mlp, value = self._norm_of(stream)
        layer = Layer(
            query=linears[0],
            key=linears[1],
            value=linears[2],
            output=output,
            gate=gate,
            up=up,
            down=down,
            attention_input=attention_input,
            output_input=output_input,
            mlp_input=mlp_input,
            down_input=down_input,
            after_attention=after_attention,
            after_mlp=after_mlp,
            cos=rotary[0][0] if rotary else None,
            sin=rotary[0][1] if rotary else None,
            attention_scale=scale,
            window=window,
        )
        return layer, value if post_norm else stream, value, (heads, activation, post_norm)

    def _rotary(self, node: Node) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.met[node.op_type] += 1
        if node.attributes.get("interleaved", 0) or self._constant(node.inputs[1]).any():
            raise NotCoveredError("a rotary embedding that is interleaved or does not begin at position 0")
        return self._constant(node.inputs[2]), self._constant(node.inputs[3])

    def _attention(self, node: Node) -> tuple[int, float, int]:
        """(heads, scale, window) of an Attention."""
        self.met[node.op_type] += 1
        rest = dict(node.attributes)
        heads, key_heads, scale = rest.pop("q_num_heads", 0), rest.pop("kv_num_heads", 0), rest.pop("scale", None)
        if any(rest.values()) or heads != key_heads or scale is None or len(node.inputs) != 4:
            raise NotCoveredError("an attention with grouped heads or other settings")
        above = self.graph.ancestors(node.inputs[3])
        kinds = {other.op_type for other in above}
        plain = {"Shape", "Cast", "Unsqueeze", "Where", "Concat", "Expand"}
        if kinds <= plain:
            return heads, scale, 0
        band = {"Range", "Squeeze", "Sub", "Abs", "LessOrEqual", "And", "GreaterOrEqual"}
        limits = [self._constant(other.inputs[1]) for other in above if other.op_type == "LessOrEqual"]
        if kinds <= plain | band and len(limits) == 1 and limits[0].size == 1 and int(limits[0]) > 0:
            return heads, scale, int(limits[0])
        raise NotCoveredError("an attention with a mask that is neither for padding nor a sliding window")

    def _mlp(self, nodes: list[Node]) -> tuple[Linear | None, Linear, Activation, str]:
        """(gate, up, activation, result)."""
        made = [self._linear(node) for node in nodes]
        if len(made) == 1:
            activation, value = self._activation(made[0][1])
            return None, made[0][0], activation, value
        activated = [self._next(out).op_type in ACTIVATIONS for _, out in made]
        if sorted(activated) != [False, True]:
            after = ", ".join(self._next(out).op_type for _, out in made)
            raise NotCoveredError(f"an MLP that is neither plain nor gated, or with another activation ({after})")
        (gate, gate_out), (up, up_out) = made if activated[0] else made[::-1]
        activation, value = self._activation(gate_out)
        product = self._only(value, "Mul")
        if set(product.inputs) != {value, up_out}:
            raise NotCoveredError("an MLP that is neither plain nor gated")
        return gate, up, activation, product.output

    def _decoder(self, value: str) -> tuple[Table, NDArray[np.float32], Quantization, int]:
        """From the head's hidden states to the winners: int8 tiles of one table, maxima over the tokens, top k."""
        replace = self._next(value, 0, "Where")  # padded tokens become the first one
        flat = self._only(self._only(replace.output, "Transpose", also="FusedMatMul").output, "Reshape")
        quantize = self._only(flat.output, "QuantizeLinear")
        pooled = {}
        tiles = self.graph.users[quantize.output]
        for tile in tiles:
            self._count(tile, "QGemm")
            if not tile.attributes.get("transB") or self._constant(tile.inputs[5]).any():
                raise NotCoveredError("a decoder with zero points")
            pooled[self._only(self._only(tile.output, "Reshape").output, "ReduceMax").output] = tile
        joined = self._next(next(iter(pooled)))
        order = list(joined.inputs) if joined.op_type == "Concat" else [next(iter(pooled))]
        add = self._only(joined.output, "Add") if joined.op_type == "Concat" else joined
        if add.op_type != "Add" or sorted(order) != sorted(pooled):
            raise NotCoveredError("a decoder whose tiles are not joined in one")
        select = self._only(add.output, "TopK")
        bias = self._constant(self._other(add, order[0] if joined.op_type != "Concat" else joined.output))
        winners = [node for node in self.graph.users[select.outputs[1]] if node.op_type == "Gather"]
        tables = [self._constant(node.inputs[0]) for node in winners]
        rows = [table for table in tables if table.dtype == np.int8]
        scales = [table for table in tables if table.dtype == np.float32 and table is not bias]
        if len(rows) != 2 or len(scales) != 1 or [node.op_type for node in self._end()] != ["Cast", "Where"]:
            raise NotCoveredError("winners that are not rescored from rows of 15 bits")
        table = Table(rows[0], rows[1], scales[0].reshape(-1))
        start = 0
        for name in order:
            weight, scale = (self._constant(pooled[name].inputs[i]) for i in (3, 4))
            part = slice(start, start + len(weight))
            same = weight.shape == table.high[part].shape and weight.ctypes.data == table.high[part].ctypes.data
            if not (same or np.array_equal(weight, table.high[part])) or not np.array_equal(scale, table.scale[part]):
                raise NotCoveredError("a decoder whose tiles are not the rows that winners are rescored with")
            start += len(weight)
        if start != len(table.high):
            raise NotCoveredError("a decoder without all rows of its table")
        return table, bias, self._quantize_linear(quantize), int(self._constant(select.inputs[1]).reshape(-1)[0])

    def _end(self) -> list[Node]:
        return [node for node in map(self.graph.producers.get, self.graph.outputs) if node is not None]

    # Small steps.

    def _readers(self, value: str) -> list[Node]:
        """The linear layers that read a value, through its quantization if it has one."""
        users = self.graph.users[value]
        quantized = [node for node in users if node.op_type == "QuantizeLinear"]
        if len(quantized) == 1:
            return self.graph.users[quantized[0].output]
        return [node for node in users if node.op_type == "MatMul" and node.inputs[0] == value]

    def _quantization(self, linear: Node) -> Quantization:
        quantize = self.graph.producers[linear.inputs[0]]
        return self._quantize_linear(quantize) if linear.op_type == "MatMulIntegerToFloat" else Quantization()

    def _quantize_linear(self, node: Node) -> Quantization:
        scale, zero_point = (self._constant(name) for name in node.inputs[1:3])
        if scale.size != 1 or zero_point.dtype != np.uint8:
            raise NotCoveredError("activations that are not uint8 with one scale")
        return Quantization(float(scale), int(zero_point))

    def _linear(self, node: Node) -> tuple[Linear, str]:
        """A linear layer and its result, the bias included."""
        if node.op_type not in ("MatMulIntegerToFloat", "MatMul"):
            raise NotCoveredError(f"{node.op_type} where a linear layer was looked for")
        self.met[node.op_type] += 1
        weight = self._constant(node.inputs[1])
        scale = None
        if node.op_type == "MatMulIntegerToFloat":
            scale, quantize = self._constant(node.inputs[3]), self.graph.producers.get(node.inputs[0])
            same = quantize is not None and quantize.inputs[1:3] == (node.inputs[2], node.inputs[4])
            if not same or len(node.inputs) != 5 or weight.dtype != np.int8 or scale.shape != weight.shape[1:]:
                raise NotCoveredError("an int8 product with a bias, zero points or another scale of its own")
        elif weight.dtype != np.float32 or weight.ndim != 2:
            raise NotCoveredError(f"a product with weights of type {weight.dtype}")
        after = self._next(node.output)
        if after.op_type == "Add":
            other = self.graph.constants.get(self._other(after, node.output))
            if other is not None:
                return Linear(weight, scale, other), after.output
        return Linear(weight, scale, None), node.output

    def _single(self, value: str) -> tuple[Quantization, Linear, str]:
        """The one linear layer that reads a value: its quantization, itself and its result."""
        readers = self._readers(value)
        if len(readers) != 1:
            raise NotCoveredError(f"{len(readers)} linear layers where one was looked for")
        linear, out = self._linear(readers[0])
        return self._quantization(readers[0]), linear, out

    def _residual(self, stream: str, value: str) -> str:
        add = self._only(value, "Add")
        if set(add.inputs) != {stream, value}:
            raise NotCoveredError("a layer's result that is not added to the residual stream")
        return add.output

    def _norm_of(self, stream: str) -> tuple[Norm, str]:
        return self._norm_node(self._next(stream, 0, "LayerNormalization"))

    def _norm(self, value: str) -> tuple[Norm, str]:
        return self._norm_node(self._only(value, "LayerNormalization"))

    def _norm_node(self, node: Node) -> tuple[Norm, str]:
        self.met[node.op_type] += 1
        weight = self._constant(node.inputs[1])
        bias = self._constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        if node.attributes.get("axis", -1) != -1 or weight.ndim != 1:
            raise NotCoveredError("a norm over another axis than the last")
        return Norm(weight, bias, float(node.attributes.get("epsilon", 1e-5))), node.output

    def _activation(self, value: str) -> tuple[Activation, str]:
        node = self._next(value)
        if node.op_type not in ACTIVATIONS or node.attributes.get("approximate", b"none") != b"none":
            raise NotCoveredError(f"activation {node.op_type}, which is neither exact GELU nor ReLU")
        self.met[node.op_type] += 1
        return ACTIVATIONS[node.op_type], node.output

    def _count(self, node: Node, op_type: str) -> None:
        if node.op_type != op_type:
            raise NotCoveredError(f"{node.op_type} where {op_type} was looked for")
        self.met[op_type] += 1

    def _next(self, value: str, position: int = 0, op_type: str | None = None) -> Node:
        """The first user of a value, of a type if one is given."""
        users = [node for node in self.graph.users[value] if op_type in (None, node.op_type)]
        if len(users) <= position:
            raise NotCoveredError(f"nothing where {op_type or 'an operator'} was looked for")
        return users[position]

    def _only(self, value: str, op_type: str, also: str | None = None) -> Node:
        """The user of a value, of this type; users of the type `also` do not count."""
        users = [node for node in self.graph.users[value] if node.op_type != also]
        if [node.op_type for node in users] != [op_type]:
            found = ", ".join(node.op_type for node in users) or "nothing"
            raise NotCoveredError(f"{found} where {op_type} was looked for")
        return users[0]

    def _other(self, node: Node, value: str) -> str:
        """The input of a node of two that is not `value`."""
        return node.inputs[1] if node.inputs[0] == value else node.inputs[0]

    def _constant(self, name: str) -> NDArray[Any]:
        if name not in self.graph.constants:
            raise NotCoveredError(f"{name} is computed where a constant was looked for")
        return self.graph.constants[name]

    def _check_counts(self) -> None:
        there = Counter(node.op_type for node in self.graph.nodes if node.op_type in COUNTED)
        there.subtract(("Relu", "Log"))  # of the weights log(1 + relu(x)), which is all that the engine knows
        for op_type in COUNTED:
            if there[op_type] != self.met[op_type]:
                raise NotCoveredError(f"{there[op_type]} nodes {op_type}, of which the encoder has {self.met[op_type]}")


def _check_sizes(encoder: Encoder) -> None:
    """What the kernels' tiles need of the sizes, that all layers have the same, and that all arrays have theirs."""
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
