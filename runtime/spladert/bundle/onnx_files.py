"""Which data files an ONNX graph reads, found without the onnx package.

Only the wire format of protocol buffers is walked (https://protobuf.dev/programming-guides/encoding/), along the few
fields of onnx.proto that can lead to a tensor's `external_data`.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from ..errors import BundleError

# message -> {field number: the message it holds}; numbers from onnx.proto
_FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 25: "Function"},
    "Function": {7: "Node"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}


def external_files(path: Path) -> set[str]:
    """The `location` of every external tensor of the ONNX file at `path`.

    Raises:
        BundleError: the file is not a well-formed ONNX model.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            view = memoryview(content)
            try:
                return set(_locations(view, "Model"))
            finally:
                view.release()
    except (ValueError, IndexError) as error:
        raise BundleError(f"{path} is not an ONNX graph ({error}); copy or export it again") from None


def _locations(message: memoryview, kind: str) -> Iterator[str]:
    children = _FIELDS[kind]
    for number, value in _length_delimited(message):
        child = children.get(number)
        if child == "Entry":
            entry = dict(_length_delimited(value))
            if bytes(entry.get(1, b"")) == b"location":
                yield bytes(entry.get(2, b"")).decode("utf-8")
        elif child is not None:
            yield from _locations(value, child)
        value.release()


def _length_delimited(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(field number, content) of a message's length-delimited fields; the others are skipped."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            _, at = _varint(message, at)
        elif wire == 1:
            at += 8
        elif wire == 2:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("a field runs past the end")
            yield tag >> 3, message[at : at + size]
            at += size
        elif wire == 5:
            at += 4
        else:
            raise ValueError(f"unknown wire type {wire}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = message[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
