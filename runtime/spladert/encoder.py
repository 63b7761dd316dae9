"""`SparseEncoder`: texts in, sparse vectors out; tokenize, run, assemble, with plain arrays between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

import numpy as np

from .batching import batches, check_rows
from .bundle import Bundle, Manifest, Variant, open_bundle
from .engine import (
    Device,
    Engine,
    Placement,
    PlacementRequest,
    RuntimeOptions,
    candidates,
    make_request,
    start_first,
    this_machine,
)
from .errors import InputError
from .progress import counting
from .pruning import Pruning
from .pruning import prune as pruned
from .query_table import load_table, look_up
from .tokenizer import Side, TextTokenizer, TokenizedTexts, check_side
from .vectors import SparseVector, SparseVectors, TopK

if TYPE_CHECKING:
    from numpy.typing import NDArray


class EncodeOptions(TypedDict, total=False):
    """Options of `SparseEncoder.encode`, which says what they are."""

    batch_size: int
    top_k: int | None
    prune: Pruning | str | None
    max_length: int | None
    split_special_tokens: bool
    show_progress: bool


class SparseEncoder:
    """A SPLADE encoder over a bundle. `encode` may be called from several threads at once.

    It is a context manager that closes itself, and pickles as what it was loaded from and with: another process loads
    the bundle again.

    Attributes:
        bundle: where the bundle is.
        placement: the device, providers and variant in use.
        engine: what runs the graph.
        options: threads of the engine.
    """

    def __init__(
        self,
        bundle: Bundle,
        placement: Placement,
        engine: Engine,
        options: RuntimeOptions | None = None,
        request: PlacementRequest | None = None,
    ) -> None:
        """An encoder over an engine that is started; `load` starts one.

        Raises:
            BundleError: the bundle's tokenizer is missing, altered or not the graph's.
        """
        self.bundle = bundle
        self.placement = placement
        self.engine = engine
        self.options = options or RuntimeOptions()
        self._request = request or PlacementRequest(placement.device, placement.variant.name)
        self._tokenizer = TextTokenizer(bundle.tokenizer_json(), bundle.manifest)
        table = bundle.query_table()
        self._query_table = None if table is None else load_table(table, self.manifest.vocabulary_size)
        self._closed = False

    @classmethod
    def load(
        cls,
        bundle: str | Path | None = None,
        *,
        revision: str | None = None,
        device: Device = "auto",
        variant: str | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        spin: bool = True,
        isa: str | None = None,
        precision: str | None = None,
    ) -> SparseEncoder:
        """Load a bundle.

        Args:
            bundle: a folder or a hub id; None is the default model that comes with the package.
            revision: branch, tag or commit, for a hub id.
            device: "auto" takes CUDA where it can run and logs what it chose; any other runs or is an error.
            variant: a variant of the bundle by its name ("cpu-int8"), or the precision of one ("int8"); None is the
                best one for the device.
            providers: ONNX Runtime providers to use instead of the device's own, first choice first; the first runs or
                it is an error.
            threads: threads of one batch, at most as many as this process may use cores; None is one a physical core.
            spin: let threads spin while they wait: faster alone, slower where other processes share the cores.
            isa: what cpu-int8 runs with: an instruction set of the compiled engine ("amx", "avx512-vnni", "avx-vnni",
                "avx2", and on aarch64 "neon-dotprod", "neon"), or "onnx" for ONNX Runtime; it runs or is an error. None
                is SPLADERT_ISA of the environment, else the best here.
            precision: the former name of `variant`.

        Raises:
            BundleError: the bundle is missing, incomplete, altered, newer, or has no fitting variant.
            DeviceError: the device or a provider is not available.
            DependencyError: onnxruntime is not installed.
            InputError: an argument of the wrong type or out of range, or two that contradict.
        """
        if variant is not None and precision is not None:
            raise InputError(f"variant is {variant!r} and precision {precision!r}, two names of one thing; give one")
        request = make_request(device, variant if variant is not None else precision, providers)
        return cls.from_bundle(open_bundle(bundle, revision=revision), request, RuntimeOptions(threads, spin, isa))

    @classmethod
    def from_bundle(
        cls, bundle: Bundle, request: PlacementRequest | None = None, options: RuntimeOptions | None = None
    ) -> SparseEncoder:
        """`load` for a bundle that is open already.

        Raises:
            BundleError, DeviceError, DependencyError: as `load`.
        """
        request, options = request or PlacementRequest(), options or RuntimeOptions()
        placements = candidates(bundle.manifest, request, this_machine(request), isa=options.isa)
        return cls(bundle, *start_first(bundle, placements, options), options, request)

    @property
    def manifest(self) -> Manifest:
        """What the bundle is."""
        return self.bundle.manifest

    @property
    def tokenizer(self) -> TextTokenizer:
        """What makes token ids of texts."""
        return self._tokenizer

    @property
    def variant(self) -> Variant:
        """The graph in use."""
        return self.placement.variant

    @property
    def device(self) -> str:
        """ "cpu", "cuda" or "tensorrt"."""
        return self.placement.device

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime's providers in use, first choice first."""
        return self.engine.providers

    def close(self) -> None:
        """Give the engine's memory and threads back; encoding afterwards is an InputError."""
        self._closed = True
        self.engine.close()

    def __enter__(self) -> SparseEncoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        origin = self.bundle.origin or (str(self.bundle.path.absolute()), None)
        return _load_again, (origin, self._request, self.options)

    @overload
    def encode(  # type: ignore[overload-overlap]  # a str is also an iterable of str; it means one text
        self, texts: str, *, side: Side | None = None, **options: Unpack[EncodeOptions]
    ) -> SparseVector: ...
    @overload
    def encode(
        self, texts: Iterable[str], *, side: Side | None = None, **options: Unpack[EncodeOptions]
    ) -> SparseVectors: ...
    def encode(
        self,
        texts: str | Iterable[str],
        *,
        side: Side | None = None,
        batch_size: int = 32,
        top_k: int | None = None,
        prune: Pruning | str | None = None,
        max_length: int | None = None,
        split_special_tokens: bool = False,
        show_progress: bool = False,
    ) -> SparseVector | SparseVectors:
        """Encode one text, or many in input order.

        Texts of similar length make a batch, so that little padding is computed; a text's vector does not depend on
        its neighbours. Text beyond `max_length` tokens is cut, as the model was trained.

        Args:
            texts: a str, or any iterable of str.
            side: "query" or "document", where the bundle tells them apart: by prompts, by lengths, or by a table of
                weights that queries are looked up in, without the graph.
            batch_size: the most texts of a batch (of long ones less, see the engine's `limits`).
            top_k: keep only the heaviest entries of each vector; at most the bundle's own `top_k`, the default.
            prune: leave light entries out, by a rule such as "max_ratio:0.1"; see `Pruning` for all of them.
            max_length: cut at fewer tokens than the bundle does, special tokens included.
            split_special_tokens: read "[CLS]", "</s>" and their like as the characters they are. By default the
                tokenizer takes them for its special tokens, as it did in training, whoever wrote them.
            show_progress: draw a progress bar on standard error.

        Raises:
            InputError: an item is not a str or not valid Unicode (the message gives its position), or an argument is
                out of range.
        """
        tokenized = self.tokenize_batch(
            [texts] if isinstance(texts, str) else texts,
            side=side,
            max_length=max_length,
            split_special_tokens=split_special_tokens,
        )
        with counting(len(tokenized), show_progress) as counted:
            results = counted(self.run(tokenized.input_ids, side=side, batch_size=batch_size))
            vectors = self.assemble(results, tokenized, top_k, prune)
        return vectors[0] if isinstance(texts, str) else vectors

    @overload
    def encode_query(self, texts: str, **options: Unpack[EncodeOptions]) -> SparseVector: ...  # type: ignore[overload-overlap]
    @overload
    def encode_query(self, texts: Iterable[str], **options: Unpack[EncodeOptions]) -> SparseVectors: ...
    def encode_query(
        self, texts: str | Iterable[str], **options: Unpack[EncodeOptions]
    ) -> SparseVector | SparseVectors:
        """`encode` with side "query"."""
        return self.encode(texts, side="query", **options)

    @overload
    def encode_document(self, texts: str, **options: Unpack[EncodeOptions]) -> SparseVector: ...  # type: ignore[overload-overlap]
    @overload
    def encode_document(self, texts: Iterable[str], **options: Unpack[EncodeOptions]) -> SparseVectors: ...
    def encode_document(
        self, texts: str | Iterable[str], **options: Unpack[EncodeOptions]
    ) -> SparseVector | SparseVectors:
        """`encode` with side "document"."""
        return self.encode(texts, side="document", **options)

    def tokenize_batch(
        self,
        texts: Iterable[str],
        *,
        side: Side | None = None,
        max_length: int | None = None,
        split_special_tokens: bool = False,
        special_tokens: bool = True,
    ) -> TokenizedTexts:
        """The first stage of `encode`: token ids of each text, and which texts were cut.

        Args:
            texts, side, max_length, split_special_tokens: as for `encode`.
            special_tokens: with the special tokens around a text; queries that are looked up never have them.

        Raises:
            InputError: `texts` is no iterable of str, one is not valid Unicode, or an argument is out of range.
        """
        return self._tokenizer(
            texts,
            side=side,
            max_length=max_length,
            split_special_tokens=split_special_tokens,
            special_tokens=special_tokens,
        )

    def run(
        self, input_ids: Sequence[Sequence[int]], *, side: Side | None = None, batch_size: int = 32
    ) -> Iterator[TopK]:
        """The second stage of `encode`: the graph's k entries of each row of token ids, batch by batch.

        Batches are cut by their cost, and come longest rows first; rows without a token are in none. Queries of a
        bundle that has a table for them are looked up instead.

        Raises:
            InputError: `batch_size` or an id is out of range, a row is too long or none of integers, or the encoder is
                closed.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
            raise InputError(f"batch_size is {batch_size!r}; give an integer of at least 1")
        if self._closed:
            raise InputError("this encoder is closed; load it again")
        check_rows(input_ids, self.manifest.vocabulary_size, self.manifest.max_length)
        if check_side(side) == "query" and self._query_table is not None:
            return look_up(self._query_table, input_ids, self.manifest.top_k)
        limits = self.engine.limits.with_texts(int(batch_size))
        return (
            TopK(np.array(positions), *self.engine.run([input_ids[i] for i in positions]))
            for positions in batches([len(row) for row in input_ids], limits)
        )

    def assemble(
        self,
        results: Iterable[TopK],
        tokenized: TokenizedTexts,
        top_k: int | None = None,
        prune: Pruning | str | None = None,
    ) -> SparseVectors:
        """The third stage of `encode`: vectors in the order of the texts, each with the entries that it keeps.

        Raises:
            InputError: `top_k` or `prune` is out of range.
        """
        counts = isinstance(top_k, Integral) and not isinstance(top_k, bool)
        if top_k is not None and not (counts and 1 <= top_k <= self.manifest.top_k):
            raise InputError(
                f"top_k is {top_k!r}; this bundle gives 1 to {self.manifest.top_k} "
                "(spladert export --top-k makes one with more)"
            )
        pruning = Pruning.parse(prune) if isinstance(prune, str) else prune
        if not isinstance(pruning, Pruning | None):
            raise InputError(f'prune is {prune!r}; give a Pruning, or a str such as "max_ratio:0.1"')
        vectors = SparseVectors.from_batches(
            _entire(results, tokenized),
            len(tokenized),
            self.manifest.vocabulary_size,
            top_k=top_k,
            cut=tokenized.truncated,
        )
        return vectors if pruning is None else pruned(vectors, pruning)

    @overload
    def decode(self, vectors: SparseVector, top_k: int | None = None) -> list[tuple[str, float]]: ...
    @overload
    def decode(self, vectors: SparseVectors, top_k: int | None = None) -> list[list[tuple[str, float]]]: ...
    def decode(
        self, vectors: SparseVector | SparseVectors, top_k: int | None = None
    ) -> list[tuple[str, float]] | list[list[tuple[str, float]]]:
        """The heaviest `top_k` entries (None: all) as (token, weight), heaviest first; of many vectors a list each.

        Raises:
            InputError: `top_k` is negative, or `vectors` is something else.
        """
        if top_k is not None and (not isinstance(top_k, Integral) or top_k < 0):
            raise InputError(f"top_k is {top_k!r}; give 0 or more, or None for all")
        if isinstance(vectors, SparseVectors):
            return [self.decode(vector, top_k) for vector in vectors]
        if not isinstance(vectors, SparseVector):
            raise InputError(f"vectors is {type(vectors).__name__}; give what encode gave")
        tokens = self.tokens[vectors.indices[:top_k]].tolist()
        return list(zip(tokens, vectors.values[:top_k].tolist(), strict=True))

    @overload
    def to_tokens(self, vectors: SparseVector) -> dict[str, float]: ...
    @overload
    def to_tokens(self, vectors: SparseVectors) -> list[dict[str, float]]: ...
    def to_tokens(self, vectors: SparseVector | SparseVectors) -> dict[str, float] | list[dict[str, float]]:
        """`{token: weight}`, heaviest first; of many vectors a list of them.

        Raises:
            InputError: `vectors` is something else.
        """
        decoded = self.decode(vectors)
        return dict(decoded) if isinstance(vectors, SparseVector) else list(map(dict, decoded))  # type: ignore[arg-type]

    @property
    def tokens(self) -> NDArray[np.object_]:
        """The vocabulary's tokens by id, object array of str [vocabulary_size], no two alike."""
        return self._tokenizer.tokens


def _entire(results: Iterable[TopK], tokenized: TokenizedTexts) -> Iterator[TopK]:
    """The results, once it is sure that none is missing: a text without one would have an empty vector.

    Raises:
        InputError: some are.
    """
    missing = {position for position, row in enumerate(tokenized.input_ids) if row}
    for result in results:
        missing.difference_update(result.positions.tolist())
        yield result
    if missing:
        raise InputError(f"there is no result of text {min(missing)}; give all that run gave for these texts")


def _load_again(
    origin: tuple[str | None, str | None], request: PlacementRequest, options: RuntimeOptions
) -> SparseEncoder:
    bundle, revision = origin
    return SparseEncoder.from_bundle(open_bundle(bundle, revision=revision), request, options)
