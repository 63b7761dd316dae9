"""Trace a checkpoint into one ONNX graph, token ids in, top-k (token id, weight) out."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from threading import get_ident
from typing import Any, TextIO, cast

import onnx_ir as ir
import torch
from torch import Tensor, nn

from spladert import ExportError

from .decoder import capture_hidden_states, find_decoder
from .emit import fused_operators
from .heads import TILE, Head, HeadGraph
from .quiet import only_errors

OPSET = 23  # the first with Attention


class SpladeGraph(nn.Module):
    """The whole encoding as one module: the model's hidden states, then the head."""

    def __init__(self, model: Any, head: HeadGraph) -> None:
        super().__init__()
        self.model = model
        self.head = head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        with capture_hidden_states(self.model) as captured:
            self.model(input_ids=input_ids, attention_mask=attention_mask)
        indices, values = self.head(captured[0], attention_mask)
        return indices, values


def trace(
    model: Any,
    *,
    max_length: int,
    top_k: int,
    head: Head | None = None,
    excluded: Sequence[int] = (),
    tile: int = TILE,
) -> ir.Model:
    """The graph of `model` (a masked language model in evaluation mode), for at most `max_length` tokens.

    Inputs `input_ids`, `attention_mask`: int64 [batch, sequence], both dynamic. Outputs `indices` int32 [batch, k] and
    `values` float32 [batch, k], by falling weight. Ids in `excluded` get weight 0; the decoder goes through the
    vocabulary `tile` rows at a time.

    Raises:
        ExportError: the model's decoder is of no known form, or PyTorch's exporter does not take the model.
    """
    decoder = find_decoder(model)
    graph = SpladeGraph(
        model,
        HeadGraph(head or Head(), decoder.weight, decoder.bias, top_k=top_k, excluded=excluded, tile=tile),
    ).eval()
    input_ids = torch.ones(2, min(8, max_length), dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=max_length)}
    with torch.no_grad(), fused_operators(model, max_length), _quiet():
        try:
            program = torch.onnx.export(
                graph,
                (input_ids, torch.ones_like(input_ids)),
                input_names=["input_ids", "attention_mask"],
                output_names=["indices", "values"],
                dynamic_shapes={"input_ids": axes, "attention_mask": axes},
                opset_version=OPSET,
                dynamo=True,
                optimize=False,  # passes.simplify does it, in a third of the time
                verbose=False,
            )
        except Exception as error:  # torch.export raises dozens of classes
            raise ExportError(
                f"{type(model).__name__} cannot be exported: PyTorch's exporter does not take it "
                f"({_cause(error)}); spladert_export.supported() lists the architectures that work"
            ) from error
    assert program is not None
    return program.model


def _cause(error: BaseException) -> str:
    """The first line of what went wrong at the bottom of a chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks (torchvision is not installed, ...) and dumps of graphs off the user's terminal."""
    stderr = cast("TextIO", _OtherThreads(sys.stderr))
    with only_errors("torch.onnx", "torch.fx"), warnings.catch_warnings(), redirect_stderr(stderr):
        warnings.simplefilter("ignore")
        yield


class _OtherThreads:
    """A stream that drops what the thread which made it writes: others, a progress bar's for one, write as before."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._thread = stream, get_ident()

    def write(self, text: str) -> int:
        return len(text) if get_ident() == self._thread else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
