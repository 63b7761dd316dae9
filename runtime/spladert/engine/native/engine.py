"""An engine over the compiled library: texts go in packed, without padding."""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

import numpy as np

from ...batching import Limits
from ...errors import DeviceError, InputError
from .description import Encoder, Layer, Linear, Norm, Quantization

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..base import TopK

# Texts are packed: what a batch costs by itself is paid once for as many as fit. More than a few hundred tokens a
# thread are no faster, and take memory.
LIMITS = Limits(tokens=2048, batch_cost=0, padded=False)
SPIN_MICROSECONDS = 50


class NativeEngine:
    """An `Engine` over `spladert_kernels`. `isa` is the instruction set in use."""

    def __init__(
        self,
        abi: Any,
        library: Any,
        encoder: Encoder,
        mappings: Sequence[mmap.mmap],
        *,
        max_length: int,
        isa: str | None = None,
        threads: int = 0,
        spin: bool = True,
    ) -> None:
        """Pack the encoder's weights.

        Args:
            abi: `spladert_kernels.abi`, the C interface.
            library: what `abi.load_library` gives.
            encoder: what to run.
            mappings: the files that the encoder's arrays are mapped from, none where they lie in memory.
            max_length: the most tokens of a text.
            isa: an instruction set by name; None is SPLADERT_ISA of the environment, else the best that runs here.
            threads: threads of one batch; 0 is one a physical core.
            spin: let threads spin for a moment before they sleep.

        Raises:
            DeviceError: the instruction set does not run here, or its self-test fails.
        """
        longest = min((len(layer.cos) for layer in encoder.layers if layer.cos is not None), default=max_length)
        if longest < max_length:
            raise DeviceError(f"the graph has {longest} positions for texts of {max_length} tokens; export it again")
        self.limits = LIMITS
        self.providers: tuple[str, ...] = ()
        self.top_k = encoder.top_k
        self._abi = abi
        self._library = library
        self._kept = _Description(abi, encoder, max_length, mapped=bool(mappings))
        self._mappings = mappings
        error = ctypes.create_string_buffer(abi.ERROR_SIZE)
        options = abi.Options(None if isa is None else isa.encode(), threads, SPIN_MICROSECONDS if spin else 0)
        self._handle = self._library.spladert_create(ctypes.byref(self._kept.model), ctypes.byref(options), error)
        if not self._handle:
            raise DeviceError(f"the compiled engine does not start: {error.value.decode()}")
        self._calls = 0
        self._changed = threading.Condition()
        self.isa: str = self._library.spladert_engine_isa(self._handle).decode()
        self.threads: int = self._library.spladert_engine_threads(self._handle)
        self.runs_on = f"the compiled engine with {self.isa}"

    def run(self, rows: Sequence[Sequence[int]]) -> TopK:
        ids = np.fromiter(chain.from_iterable(rows), np.int32)
        offsets = np.fromiter(accumulate(map(len, rows), initial=0), np.int32, len(rows) + 1)
        indices = np.empty((len(rows), self.top_k), np.int32)
        values = np.empty((len(rows), self.top_k), np.float32)
        error = ctypes.create_string_buffer(self._abi.ERROR_SIZE)
        with self._changed:
            if self._handle is None:
                raise InputError("this encoder is closed; load it again")
            self._calls += 1
        try:
            failed = self._library.spladert_run(
                self._handle,
                _pointer(ids, self._abi.Ints),
                _pointer(offsets, self._abi.Ints),
                len(rows),
                self.top_k,
                _pointer(indices, self._abi.Ints),
                _pointer(values, self._abi.Floats),
                error,
            )
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()
        if failed:
            raise InputError(f"the compiled engine refuses these token ids: {error.value.decode()}")
        return indices, values

    def close(self) -> None:
        with self._changed:
            handle, self._handle = self._handle, None
            while self._calls:  # the library's threads are at work for them
                self._changed.wait()
        if handle:
            self._library.spladert_destroy(handle)

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.close()


class _Description:
    """The C description of an encoder, and what it points to."""

    def __init__(self, abi: Any, encoder: Encoder, max_length: int, *, mapped: bool) -> None:
        self._abi = abi
        self._arrays: list[NDArray[Any]] = []
        self._layers = (abi.Layer * len(encoder.layers))(*map(self._layer, encoder.layers))
        activations = {"gelu": abi.GELU, "relu": abi.RELU}
        position = encoder.position
        self.model = abi.Model(
            layers=len(encoder.layers),
            hidden=encoder.words.high.shape[1],
            intermediate=encoder.intermediate,
            heads=encoder.heads,
            head_size=encoder.head_size,
            vocabulary=len(encoder.words.high),
            max_length=max_length,
            activation=activations[encoder.activation],
            head_activation=activations[encoder.head_activation],
            post_norm=encoder.post_norm,
            word_high=self._at(encoder.words.high),
            word_low=self._at(encoder.words.low),
            word_scale=self._at(encoder.words.scale),
            position=self._at(position),
            token_type=self._at(encoder.token_type),
            position_rows=0 if position is None else len(position),
            position_pad=encoder.position_pad,
            embedding_norm=self._norm(encoder.embedding_norm),
            layer=self._layers,
            head=self._linear(encoder.head),
            head_input=self._quantization(encoder.head_input),
            decoder_input=self._quantization(encoder.decoder_input),
            head_norm=self._norm(encoder.head_norm),
            decoder_high=self._at(encoder.decoder.high),
            decoder_low=self._at(encoder.decoder.low),
            decoder_scale=self._at(encoder.decoder.scale),
            decoder_bias=self._at(encoder.decoder_bias),
            mapped=mapped,
        )

    def _at(self, array: NDArray[Any] | None) -> int | None:
        if array is None:
            return None
        array = np.ascontiguousarray(array)
        self._arrays.append(array)
        return int(array.ctypes.data)

    def _linear(self, linear: Linear | None) -> Any:
        if linear is None:
            return self._abi.Linear()
        return self._abi.Linear(self._at(linear.weight), self._at(linear.scale), self._at(linear.bias))

    def _quantization(self, quantization: Quantization) -> Any:
        return self._abi.Quantization(quantization.scale, quantization.zero_point)

    def _norm(self, norm: Norm) -> Any:
        return self._abi.Norm(self._at(norm.weight), self._at(norm.bias), norm.epsilon)

    def _layer(self, layer: Layer) -> Any:
        names = ("query", "key", "value", "output", "gate", "up", "down")
        inputs = ("attention_input", "output_input", "mlp_input", "down_input")
        return self._abi.Layer(
            **{name: self._linear(getattr(layer, name)) for name in names},
            **{name: self._quantization(getattr(layer, name)) for name in inputs},
            after_attention=self._norm(layer.after_attention),
            after_mlp=self._norm(layer.after_mlp),
            cos=self._at(layer.cos),
            sin=self._at(layer.sin),
            attention_scale=layer.attention_scale,
            window=layer.window,
        )


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(kind)
