"""Recognizing an encoder in a graph: from the embedding on along the residual stream, layer by layer.

What is met must be what is looked for, in operators, order and constants; the first thing that is not is the reason why
the graph is not covered. Nothing is guessed from names.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .description import Activation, Encoder, Layer, Linear, NotCoveredError, Quantization, Table
from .graph import Graph, Node
from .sizes import check_sizes
from .walk import ACTIVATIONS, Walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOW_STEP = 1 / 256


def describe(graph: Graph) -> Encoder:
    """The encoder that a cpu-int8 graph computes.

    Raises:
        NotCoveredError: it holds something that the compiled engine does not have.
    """
    try:
        return _Reader(graph).encoder()
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # an input or an attribute is missing or odd
        raise NotCoveredError(f"a node or a constant that does not fit its operator ({error})") from None


class _Reader(Walk):
    """Walks the graph once, from the embedding to the winners."""

    def encoder(self) -> Encoder:
        words, value, position, position_pad, token_type = self._embedding()
        embedding_norm, value = self.norm(value)
        layers: list[Layer] = []
        heads, activation, post_norms = set[int](), set[Activation](), set[bool]()
        stream = value
        while len(self.readers(value)) > 1:
            layer, stream, value, seen = self._layer(stream, value)
            layers.append(layer)
            heads.add(seen[0])
            activation.add(seen[1])
            post_norms.add(seen[2])
        if not layers or len(heads) != 1 or len(activation) != 1 or len(post_norms) != 1:
            raise NotCoveredError("layers that differ in heads, activation or the place of their norms")
        head_input, (head_node,) = self.readers(value), self.readers(value)
        head, value = self.linear(head_node)
        head_activation, value = self.activation(value)
        head_norm, value = self.norm(value)
        decoder, bias, decoder_input, top_k = self._decoder(value)
        quantization = self.quantization(head_input[0])
        self.check_counts()
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
        check_sizes(encoder)
        return encoder

    # Parts, in the order of the graph.

    def _embedding(self) -> tuple[Table, str, NDArray[np.float32] | None, int, NDArray[np.float32] | None]:
        """The vocabulary's rows, then learned positions and token types in any order."""
        gathers = [node for node in self.graph.users["input_ids"] if node.op_type == "Gather"]
        tables = {self.constant(node.inputs[0]).dtype.name: node for node in gathers}
        arrays = [self.constant(node.inputs[0]) for node in gathers]
        if len(gathers) != 3 or sorted(tables) != ["float32", "int8"]:
            raise NotCoveredError("the embedding is not int8 rows of 15 bits")
        high, low, scale = gathers
        whole = self.only(high.output, "Cast")
        rest = self.only(low.output, "DequantizeLinear")
        if float(self.constant(rest.inputs[1])) != LOW_STEP or arrays[2].dtype != np.float32:
            raise NotCoveredError("the embedding is not int8 rows of 15 bits")
        both = self.only(whole.output, "Add")
        row = self.only(both.output, "Mul")
        if set(both.inputs) != {whole.output, rest.output} or set(row.inputs) != {both.output, scale.output}:
            raise NotCoveredError("the embedding is not int8 rows of 15 bits")
        words = Table(arrays[0], arrays[1], arrays[2].reshape(-1))
        value, position, position_pad, token_type = row.output, None, -1, None
        while (add := self.next(value)).op_type == "Add":
            other = self.graph.producers.get(self.other(add, value))
            if other is None or other.op_type != "Gather":
                raise NotCoveredError("something is added to the embedding that is no table")
            table, indices = self.constant(other.inputs[0]), other.inputs[1]
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
            pad = int(self.constant(equal.inputs[1]))
            added = [self.constant(node.inputs[1]) for node in above if node.op_type == "Add"]
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
        attention_input = self.quantization(self.readers(value)[0])
        linears, attention, rotary = {}, None, []
        for node in self.readers(value):
            linear, out = self.linear(node)
            user = self.next(out)
            if user.op_type == "RotaryEmbedding":
                rotary.append(self._rotary(user))
                out, user = user.output, self.next(user.output)
            attention = user if attention is None else attention
            if user is not attention or user.op_type != "Attention":
                raise NotCoveredError(f"{user.op_type} where an attention's query, key or value was looked for")
            linears[user.inputs.index(out)] = linear
        if attention is None or sorted(linears) != [0, 1, 2] or len(rotary) not in (0, 2):
            raise NotCoveredError("an attention without a query, a key and a value of its own")
        heads, scale, window = self._attention(attention)
        if rotary and any(a is not b for a, b in zip(*rotary, strict=True)):
            raise NotCoveredError("an attention whose query and key are rotated differently")
        output_input, output, value = self.single(attention.output)
        stream = self.residual(stream, value)
        after_attention, value = self.norm_of(stream)
        post_norm = self.next(stream, 0, "LayerNormalization").output == value and len(self.graph.users[stream]) == 1
        stream = value if post_norm else stream
        mlp_input = self.quantization(self.readers(value)[0])
        gate, up, activation, value = self._mlp(self.readers(value))
        down_input, down, value = self.single(value)
        stream = self.residual(stream, value)
        after_mlp, value = self.norm_of(stream)
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
        if node.attributes.get("interleaved", 0) or self.constant(node.inputs[1]).any():
            raise NotCoveredError("a rotary embedding that is interleaved or does not begin at position 0")
        return self.constant(node.inputs[2]), self.constant(node.inputs[3])

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
        limits = [self.constant(other.inputs[1]) for other in above if other.op_type == "LessOrEqual"]
        if kinds <= plain | band and len(limits) == 1 and limits[0].size == 1 and int(limits[0]) > 0:
            return heads, scale, int(limits[0])
        raise NotCoveredError("an attention with a mask that is neither for padding nor a sliding window")

    def _mlp(self, nodes: list[Node]) -> tuple[Linear | None, Linear, Activation, str]:
        """(gate, up, activation, result)."""
        made = [self.linear(node) for node in nodes]
        if len(made) == 1:
            activation, value = self.activation(made[0][1])
            return None, made[0][0], activation, value
        activated = [self.next(out).op_type in ACTIVATIONS for _, out in made]
        if sorted(activated) != [False, True]:
            after = ", ".join(self.next(out).op_type for _, out in made)
            raise NotCoveredError(f"an MLP that is neither plain nor gated, or with another activation ({after})")
        (gate, gate_out), (up, up_out) = made if activated[0] else made[::-1]
        activation, value = self.activation(gate_out)
        product = self.only(value, "Mul")
        if set(product.inputs) != {value, up_out}:
            raise NotCoveredError("an MLP that is neither plain nor gated")
        return gate, up, activation, product.output

    def _decoder(self, value: str) -> tuple[Table, NDArray[np.float32], Quantization, int]:
        """From the head's hidden states to the winners: int8 tiles of one table, maxima over the tokens, top k."""
        replace = self.next(value, 0, "Where")  # padded tokens become the first one
        flat = self.only(self.only(replace.output, "Transpose", also="FusedMatMul").output, "Reshape")
        quantize = self.only(flat.output, "QuantizeLinear")
        pooled = {}
        tiles = self.graph.users[quantize.output]
        for tile in tiles:
            self.count(tile, "QGemm")
            if not tile.attributes.get("transB") or self.constant(tile.inputs[5]).any():
                raise NotCoveredError("a decoder with zero points")
            pooled[self.only(self.only(tile.output, "Reshape").output, "ReduceMax").output] = tile
        joined = self.next(next(iter(pooled)))
        order = list(joined.inputs) if joined.op_type == "Concat" else [next(iter(pooled))]
        add = self.only(joined.output, "Add") if joined.op_type == "Concat" else joined
        if add.op_type != "Add" or sorted(order) != sorted(pooled):
            raise NotCoveredError("a decoder whose tiles are not joined in one")
        select = self.only(add.output, "TopK")
        bias = self.constant(self.other(add, order[0] if joined.op_type != "Concat" else joined.output))
        winners = [node for node in self.graph.users[select.outputs[1]] if node.op_type == "Gather"]
        tables = [self.constant(node.inputs[0]) for node in winners]
        rows = [table for table in tables if table.dtype == np.int8]
        scales = [table for table in tables if table.dtype == np.float32 and table is not bias]
        if len(rows) != 2 or len(scales) != 1 or [node.op_type for node in self._end()] != ["Cast", "Where"]:
            raise NotCoveredError("winners that are not rescored from rows of 15 bits")
        table = Table(rows[0], rows[1], scales[0].reshape(-1))
        start = 0
        for name in order:
            weight, scale = (self.constant(pooled[name].inputs[i]) for i in (3, 4))
            part = slice(start, start + len(weight))
            same = weight.shape == table.high[part].shape and weight.ctypes.data == table.high[part].ctypes.data
            if not (same or np.array_equal(weight, table.high[part])) or not np.array_equal(scale, table.scale[part]):
                raise NotCoveredError("a decoder whose tiles are not the rows that winners are rescored with")
            start += len(weight)
        if start != len(table.high):
            raise NotCoveredError("a decoder without all rows of its table")
        return table, bias, self.quantize_linear(quantize), int(self.constant(select.inputs[1]).reshape(-1)[0])

    def _end(self) -> list[Node]:
        return [node for node in map(self.graph.producers.get, self.graph.outputs) if node is not None]
