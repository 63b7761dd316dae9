"""Reading an ONNX graph without the onnx package: nodes, and constants mapped from the files they lie in."""

from __future__ import annotations

import mmap
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...bundle.protobuf import fields, varint
from ...errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# TensorProto.DataType
DTYPES: dict[int, type[np.generic]] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    11: np.float64,
}


@dataclass(frozen=True, eq=False)
class Node:
    """An operator. Inputs left out are ""; attributes are int, float, bytes, lists of int, or None for any other."""

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def output(self) -> str:
        return self.outputs[0]


@dataclass(frozen=True)
class Graph:
    """A graph's nodes in order, and its constants by name."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]
    outputs: tuple[str, ...]
    mappings: tuple[mmap.mmap, ...] = field(repr=False, default=())

    @cached_property
    def producers(self) -> dict[str, Node]:
        return {output: node for node in self.nodes for output in node.outputs}

    @cached_property
    def users(self) -> dict[str, list[Node]]:
        """Nodes that read a value, each once, in order."""
        found: dict[str, list[Node]] = defaultdict(list)
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return found

    def ancestors(self, value: str) -> list[Node]:
        """All nodes that a value depends on."""
        found: dict[Node, None] = {}
        todo = [value]
        while todo:
            node = self.producers.get(todo.pop())
            if node is not None and node not in found:
                found[node] = None
                todo += node.inputs
        return list(found)


def read_graph(path: Path) -> Graph:
    """The main graph of an ONNX file. Constants in data files are mapped, not read.

    Raises:
        BundleError: the file is not a well-formed ONNX model, or a constant runs past its data file.
    """
    try:
        content = memoryview(path.read_bytes())
        graph = next(value for number, value in fields(content) if number == 7 and not isinstance(value, int))
        nodes, constants, outputs = [], {}, []
        files: dict[str, mmap.mmap] = {}
        for number, value in fields(graph):
            if isinstance(value, int):
                continue
            if number == 1:
                nodes.append(_node(value))
            elif number == 5:
                name, array = _tensor(value, path.parent, files)
                constants[name] = array
            elif number == 12:
                outputs.append(_text(dict(fields(value)).get(1)))
        _check_order(nodes)
    except (ValueError, TypeError, IndexError, MemoryError, StopIteration, struct.error, OSError) as error:
        raise BundleError(f"{path} is not an ONNX graph ({error}); copy or export it again") from None
    return Graph(tuple(nodes), constants, tuple(outputs), tuple(files.values()))


def _check_order(nodes: Sequence[Node]) -> None:
    """Each value is computed once, before it is read: so a walk along the nodes ends."""
    places: dict[str, int] = {}
    for place, node in enumerate(nodes):
        for name in node.outputs:
            if name and name in places:
                raise ValueError(f"{name} is computed twice")
            places[name] = place
    for place, node in enumerate(nodes):
        if late := [name for name in node.inputs if name and places.get(name, -1) >= place]:
            raise ValueError(f"{late[0]} is read before it is computed")


def _text(value: int | memoryview | None) -> str:
    return "" if value is None or isinstance(value, int) else bytes(value).decode("utf-8")


def _node(message: memoryview) -> Node:
    inputs, outputs, op_type, attributes = [], [], "", {}
    for number, value in fields(message):
        if isinstance(value, int):
            continue
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            op_type = _text(value)
        elif number == 5:
            name, attribute = _attribute(value)
            attributes[name] = attribute
    if not outputs:
        raise ValueError(f"a node {op_type} without outputs")
    return Node(op_type, tuple(inputs), tuple(outputs), attributes)


def _attribute(message: memoryview) -> tuple[str, Any]:
    found: dict[int, Any] = {}
    ints: list[int] = []
    for number, value in fields(message):
        if number == 8:
            ints += _ints(value)
        else:
            found[number] = value
    name = _text(found.get(1))
    if 2 in found:
        return name, struct.unpack("<f", found[2])[0]
    if 3 in found:
        return name, _signed(found[3])
    if 4 in found:
        return name, bytes(found[4])
    return name, ints or None


def _ints(value: int | memoryview) -> list[int]:
    """A repeated integer field, packed or not."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = varint(value, at)
        numbers.append(_signed(number))
    return numbers


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _tensor(message: memoryview, folder: Path, files: dict[str, mmap.mmap]) -> tuple[str, NDArray[Any]]:
    shape: list[int] = []
    found: dict[int, Any] = {}
    external: dict[str, str] = {}
    for number, value in fields(message):
        if number == 1:
            shape += _ints(value)
        elif number == 13 and not isinstance(value, int):
            entry = dict(fields(value))
            external[_text(entry.get(1))] = _text(entry.get(2))
        else:
            found[number] = value
    name, dtype = _text(found.get(8)), DTYPES.get(found.get(2, 0))
    if dtype is None or any(size < 0 for size in shape):
        raise ValueError(f"constant {name} has type {found.get(2)} and shape {shape}")
    count = prod(shape)
    if external:
        location = external.get("location", "")
        if location not in files:
            with (folder / location).open("rb") as stream:
                files[location] = mmap.mmap(stream.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        data: Any = files[location]
        offset = int(external.get("offset", 0))
    else:
        data, offset = bytes(found.get(9, b"")), 0
    if offset < 0 or offset + count * np.dtype(dtype).itemsize > len(data):
        raise ValueError(f"constant {name} runs past its data")
    return name, np.frombuffer(data, dtype, count, offset).reshape(shape)
