"""Which data files an ONNX graph reads, found without the onnx package.

Only the few fields of onnx.proto are walked that can lead to a tensor's `external_data`.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from ..errors import BundleError
from .protobuf import fields

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
            except (ValueError, IndexError) as error:
                problem = str(error)  # the error itself holds views of the mapping, which could then not be closed
            finally:
                view.release()
    except ValueError as error:
        problem = str(error)  # an empty file cannot be mapped
    raise BundleError(f"{path} is not an ONNX graph ({problem}); copy or export it again")


def _locations(message: memoryview, kind: str) -> Iterator[str]:
    children = _FIELDS[kind]
    for number, value in fields(message):
        if isinstance(value, int):
            continue
        child = children.get(number)
        if child == "Entry":
            entry = {key: bytes(part) for key, part in fields(value) if not isinstance(part, int)}
            if entry.get(1, b"") == b"location":
                yield entry.get(2, b"").decode("utf-8")
        elif child is not None:
            yield from _locations(value, child)
        value.release()
