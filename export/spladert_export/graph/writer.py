"""Writing a graph and its external data so that tensors which share memory share bytes on disk.

The decoder's tiles are rows of the tied embedding: written once, they save V * H * 4 bytes (154 MB of 750 for the
default model).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch

SMALLEST_EXTERNAL = 1024  # bytes; smaller tensors stay in the graph
ALIGNMENT = 4096  # bytes; lets a loader map each block


def write_graph(model: ir.Model, path: Path) -> list[Path]:
    """Write `model` to `path` and its large tensors to `path`.data; returns the files, graph first."""
    data_path = path.with_name(path.name + ".data")
    storages: dict[int, int] = {}  # address of a torch storage -> its offset in the file
    with data_path.open("wb") as stream:
        for value in model.graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.nbytes < SMALLEST_EXTERNAL:
                continue
            value.const_value = ir.ExternalTensor(
                location=data_path.name,
                offset=_place(tensor, stream, storages),
                length=tensor.nbytes,
                dtype=tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=value.name or "",
                base_dir=path.parent,
            )
    ir.save(model, path)
    onnx.checker.check_model(str(path))
    return [path, data_path]


def _place(tensor: ir.TensorProtocol, stream: object, storages: dict[int, int]) -> int:
    """The offset of the tensor's bytes in the file, written now unless its storage was written before."""
    raw = getattr(tensor, "raw", None)
    if isinstance(raw, torch.Tensor) and raw.is_contiguous():
        storage = raw.untyped_storage()
        address = storage.data_ptr()
        if address not in storages:
            whole = torch.empty(0, dtype=torch.uint8).set_(storage)
            storages[address] = _append(stream, whole.numpy().data)
        return storages[address] + int(raw.storage_offset()) * raw.element_size()
    return _append(stream, np.ascontiguousarray(tensor.numpy()).data)


def _append(stream: object, content: memoryview) -> int:
    offset: int = -(-stream.tell() // ALIGNMENT) * ALIGNMENT  # type: ignore[attr-defined]
    stream.seek(offset)  # type: ignore[attr-defined]
    stream.write(content)  # type: ignore[attr-defined]
    return offset
