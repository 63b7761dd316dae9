"""`SparseEncoder`: texts in, sparse vectors out; tokenize, run, assemble, with plain arrays between."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from .batching import Limits, batches
from .bundle import Bundle, Manifest, Variant, open_bundle
from .engine.session import Device, choose_run, start_session
from .errors import BundleError, DeviceError, InputError
from .tokenizer import check_texts, load_tokenizer, pad, tokenize
from .vectors import SparseVector, SparseVectors

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from .engine.buffers import Lanes

logger = logging.getLogger("spladert")

# On CPU a larger run is no faster: a token costs the same in a run of 64 and of 1,024. A run costs by itself
# what 6 tokens cost with a model of 149 M parameters, and 10 with one of 6 M: the line through benchmarks/compare.py's
# medians of 1 x 8 and 1 x 64 tokens.
TOKENS_PER_RUN, RUN_COST = 1024, 8
# A GPU needs more tokens to be busy: 256 texts of 64 take 128 MiB of fp16 logits at a time. What a run costs there was
# not measured; this lets batches be full.
TOKENS_PER_GPU_RUN, GPU_RUN_COST = 16 * TOKENS_PER_RUN, TOKENS_PER_RUN

EMPTY = SparseVector(np.empty(0, np.int32), np.empty(0, np.float32))


class SparseEncoder:
    """A SPLADE encoder over a bundle. `encode` may be called from several threads at once.

    Attributes:
        manifest: what the bundle is.
        variant: the graph in use.
        device: "cpu", "cuda" or "tensorrt".
        providers: ONNX Runtime's providers in use, first choice first.
    """

    def __init__(
        self,
        manifest: Manifest,
        variant: Variant,
        device: str,
        tokenizer: Tokenizer,
        session: onnxruntime.InferenceSession,
        lanes: Lanes | None = None,
    ) -> None:
        self.manifest = manifest
        self.variant = variant
        self.device = device
        self.providers: list[str] = session.get_providers()
        self._tokenizer = tokenizer
        self._session = session
        self._lanes = lanes  # on a GPU, runs go through them

    @classmethod
    def load(
        cls,
        bundle: str | Path | None = None,
        *,
        revision: str | None = None,
        device: Device = "auto",
        precision: str | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> SparseEncoder:
        """Load a bundle.

        Args:
            bundle: a folder or a hub id; None is the default model that comes with the package.
            revision: branch, tag or commit, for a hub id.
            device: "auto" takes CUDA where it can run and logs what it chose; any other must be available.
            precision: a precision the bundle has for the device; None is the best one for it.
            providers: ONNX Runtime providers to use instead of the device's own, first choice first.
            threads: threads of one run; None leaves it to ONNX Runtime (one a physical core).

        Raises:
            BundleError: the bundle is missing, incomplete, altered, newer, or has no fitting variant.
            DeviceError: the device or a provider is not available.
            DependencyError: onnxruntime is not installed.
            InputError: an argument of the wrong type or out of range.
        """
        return cls.from_bundle(
            open_bundle(bundle, revision=revision),
            device=device,
            precision=precision,
            providers=providers,
            threads=threads,
        )

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        *,
        device: Device = "auto",
        precision: str | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> SparseEncoder:
        """`load` for a bundle that is open already."""
        chosen, names, variant = choose_run(bundle.manifest, device, providers, precision)
        try:
            return cls._start(bundle, variant, chosen, names, threads)
        except DeviceError as error:
            if device != "auto" or chosen == "cpu":
                raise
            logger.warning("device auto: %s does not start, running on the CPU: %s", chosen, error)
        chosen, names, variant = choose_run(bundle.manifest, "cpu", None, precision)
        return cls._start(bundle, variant, chosen, names, threads)

    @classmethod
    def _start(
        cls, bundle: Bundle, variant: Variant, device: str, providers: list[str], threads: int | None
    ) -> SparseEncoder:
        tokenizer = load_tokenizer(bundle.tokenizer_json(), bundle.manifest.max_length)
        if tokenizer.get_vocab_size() > bundle.manifest.vocabulary_size:
            raise BundleError(
                f"{bundle.path}: the tokenizer has {tokenizer.get_vocab_size()} tokens, "
                f"the graph {bundle.manifest.vocabulary_size}; export the bundle again"
            )
        with bundle.checking(variant) as graph:
            if device == "cpu":
                session = start_session(graph, device, providers, threads)
                return cls(bundle.manifest, variant, device, tokenizer, session)
            from .engine.gpu import start_lanes

            lanes = start_lanes(graph, bundle.manifest, variant, device, providers, threads)
            return cls(bundle.manifest, variant, device, tokenizer, lanes.session, lanes)

    @overload
    def encode(  # type: ignore[overload-overlap]  # a str is also an iterable of str; it means one text
        self, texts: str, *, batch_size: int = 32, top_k: int | None = None, show_progress: bool = False
    ) -> SparseVector: ...
    @overload
    def encode(
        self, texts: Iterable[str], *, batch_size: int = 32, top_k: int | None = None, show_progress: bool = False
    ) -> SparseVectors: ...
    def encode(
        self, texts: str | Iterable[str], *, batch_size: int = 32, top_k: int | None = None, show_progress: bool = False
    ) -> SparseVector | SparseVectors:
        """Encode one text, or many in input order.

        Texts of similar length run together, so that little padding is computed; a text's vector does not depend on
        its neighbours. Text beyond the bundle's `max_length` tokens is cut, as the model was trained.

        Args:
            texts: a str, or any iterable of str.
            batch_size: the most texts of one run (of long ones less, see `TOKENS_PER_RUN`).
            top_k: keep only the heaviest entries of each vector; at most the bundle's own `top_k`, the default.
            show_progress: draw a progress bar on standard error.

        Raises:
            InputError: an item is not a str or not valid Unicode (the message gives its position), or an argument is
                out of range.
        """
        single = isinstance(texts, str)
        no_texts = isinstance(texts, bytes | bytearray | memoryview | Mapping)
        no_texts = no_texts or (isinstance(texts, np.ndarray) and texts.ndim == 0)  # says it is iterable, and is not
        if no_texts or not isinstance(texts, Iterable):
            raise InputError(f"texts is {type(texts).__name__}; give a str or a sequence of str")
        if not isinstance(batch_size, Integral) or batch_size < 1:
            raise InputError(f"batch_size is {batch_size!r}; give an integer of at least 1")
        if top_k is not None and not (isinstance(top_k, Integral) and 1 <= top_k <= self.manifest.top_k):
            raise InputError(
                f"top_k is {top_k!r}; this bundle gives 1 to {self.manifest.top_k} "
                "(spladert export --top-k makes one with more)"
            )
        rows = tokenize(self._tokenizer, check_texts([texts] if single else list(texts)))
        vectors = [EMPTY] * len(rows)
        with _progress(len(rows), show_progress) as advance:
            for batch in batches([len(row) for row in rows], self._limits(batch_size)):
                indices, values = self._run([rows[i] for i in batch])
                for i, vector in zip(batch, _assemble(indices, values, top_k), strict=True):
                    vectors[i] = vector
                advance(len(batch))
        return vectors[0] if single else SparseVectors.from_rows(vectors, self.manifest.vocabulary_size)

    # SPLADE uses one encoder for both sides; the two names let code say which one it means.
    encode_query = encode
    encode_document = encode

    def decode(self, vector: SparseVector, top_k: int | None = 10) -> list[tuple[str, float]]:
        """The heaviest `top_k` entries (None: all) as (token, weight), heaviest first.

        Raises:
            InputError: `top_k` is negative.
        """
        if top_k is not None and top_k < 0:
            raise InputError(f"top_k is {top_k}; give 0 or more, or None for all")
        # Ids beyond the tokenizer's tokens exist where a checkpoint pads its vocabulary.
        ids = vector.indices[:top_k].tolist()
        tokens = [self._tokenizer.id_to_token(i) or f"[unused {i}]" for i in ids]
        return list(zip(tokens, vector.values[:top_k].tolist(), strict=True))

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text without special tokens, cut to the bundle's `max_length`.

        Raises:
            InputError: the text is not a str or not valid Unicode.
        """
        return tokenize(self._tokenizer, check_texts([text]), special_tokens=False)[0]

    def _limits(self, batch_size: int) -> Limits:
        if self._lanes is None:
            return Limits(batch_size, TOKENS_PER_RUN, RUN_COST)
        return Limits(min(batch_size, self._lanes.most_texts), TOKENS_PER_GPU_RUN, GPU_RUN_COST)

    def _run(self, rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        input_ids, attention_mask = pad(rows, self.manifest.pad_token_id)
        if self._lanes is not None:
            return self._lanes.run(input_ids, attention_mask)
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        indices, values = self._session.run(["indices", "values"], feeds)
        return indices, values  # int32 [batch, k], float32 [batch, k]


def _assemble(indices: NDArray[np.int32], values: NDArray[np.float32], top_k: int | None) -> Iterator[SparseVector]:
    counts = (values[:, :top_k] > 0).sum(axis=1)  # weights fall, so the zeros are at the end
    for row, count in enumerate(counts):
        yield SparseVector(indices[row, :count].copy(), values[row, :count].copy())


@contextmanager
def _progress(total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar over `total` texts on standard error, or nothing; gives the function that advances it."""
    if not shown:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("encoding", total=total)
        yield lambda count: bar.advance(task, count)
