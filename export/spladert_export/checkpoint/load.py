"""Loading a checkpoint: what its files say, its weights and its tokenizer."""

from __future__ import annotations

import copy
import hashlib
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, normalizers
from transformers import AutoModelForMaskedLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from spladert.bundle import Source
from spladert.errors import ExportError

from ..graph.heads import Head
from ..normalize import clean_up
from .files import CheckpointFiles
from .lengths import Lengths, choose_lengths
from .positions import usable_positions
from .query_weights import read_query_weights
from .refuse import (
    first_lines,
    refuse_behaviour,
    refuse_files,
    refuse_tokenizer,
    refuse_vocabulary,
    refuse_weights,
)
from .sentence_transformers import read_recipe

# In the names of weights, of torch.compile (of the model or a part of it) and of DataParallel.
WRAPPERS = {r"_orig_mod\.": "", r"^(?:module\.)+": ""}


@dataclass(frozen=True)
class Checkpoint:
    """A masked language model in evaluation mode (fp32, on CPU) with its tokenizer.

    Attributes:
        head: what is computed from its logits.
        prompts: what goes before a text, by its side: "query", "document", or "default" for neither; empty where
            nothing does.
        lengths: how many tokens a text may have.
        top_k: the most entries of a vector that the checkpoint itself gives; None is all.
        query_weights: float32 [V], by token id, where queries are looked up and not run; else None.
    """

    model: Any
    tokenizer: Any
    source: str
    revision: str | None
    head: Head = field(default_factory=Head)
    prompts: Mapping[str, str] = field(default_factory=dict)
    lengths: Lengths = field(default_factory=Lengths)
    top_k: int | None = None
    query_weights: NDArray[np.float32] | None = None

    @property
    def vocabulary_size(self) -> int:
        return int(self.model.get_output_embeddings().weight.shape[0])

    @property
    def pad_token_id(self) -> int:
        """What fills the rows of a batch; any id does, for masked tokens are not seen."""
        ids = (self.tokenizer.pad_token_id, getattr(self.model.config, "pad_token_id", None))
        return next((int(number) for number in ids if number is not None), 0)

    def tokenizer_json(self) -> str:
        """The tokenizer as `AutoTokenizer` built it, which need not be the checkpoint's tokenizer.json.

        It neither pads nor cuts; which end of a text is cut is in its truncation's direction.
        """
        backend = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        backend.no_padding()
        backend.no_truncation()
        if self.tokenizer.truncation_side == "left":
            backend.enable_truncation(self.lengths.max_length, direction="left")
        return str(backend.to_str())

    def cleaning(self) -> Checkpoint:
        """This one with a clean-up of texts before its tokenizer's own normalizer (`normalize.clean_up`).

        Where queries are looked up, documents are cleaned alike: both have one tokenizer.
        """
        tokenizer = copy.deepcopy(self.tokenizer)
        _normalize_first(tokenizer, clean_up(tokenizer.backend_tokenizer))
        return replace(self, tokenizer=tokenizer)

    def describe(self) -> Source:
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().contiguous().view(torch.uint8).numpy().data)
        return Source(
            id=Path(self.source).name if Path(self.source).exists() else self.source,
            revision=self.revision,
            architecture=type(self.model).__name__,
            parameters=sum(p.numel() for p in self.model.parameters()),
            weights_sha256=digest.hexdigest(),
        )


def load_checkpoint(
    source: str,
    revision: str | None = None,
    max_length: int | None = None,
    *,
    query_max_length: int | None = None,
    document_max_length: int | None = None,
) -> Checkpoint:
    """Load a hub id or a local folder with `AutoModelForMaskedLM` and `AutoTokenizer`; remote code is never run.

    A folder of sentence-transformers' `SparseEncoder` is read with its pooling, prompts and lengths.

    Args:
        source: a hub id or a local folder.
        revision: branch, tag or commit of a hub id.
        max_length: most tokens of a text; None is sentence-transformers' `max_seq_length`, else 64.
        query_max_length: of queries alone; None is sentence-transformers' `query_length`, else `max_length`.
        document_max_length: of documents alone.

    Raises:
        ExportError: nothing loads from `source`; it is of a kind that is not supported, which the message names; it
            has no trained masked-LM head, no fast tokenizer, a vocabulary that disagrees with its tokenizer, or fewer
            positions than are asked for.
    """
    files = CheckpointFiles.at(source, revision)
    recipe = read_recipe(files)
    refuse_files(files, recipe)
    commit = files.commit(recipe.file("config.json"))
    where = {"revision": commit, "subfolder": recipe.subfolder, "trust_remote_code": False}
    with _quiet_transformers():
        model, report = _load_model(source, where)
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, **where)
        except Exception as error:
            raise ExportError(f"{source} has no tokenizer that loads: {first_lines(error)}") from error
    refuse_weights(source, model, report)
    refuse_tokenizer(files, recipe, tokenizer)
    refuse_behaviour(source, model)
    refuse_vocabulary(source, model, tokenizer)
    tokenizer.padding_side = "right"  # the graph's batches are padded there; a text's vector does not depend on it
    if recipe.lower_case:
        _normalize_first(tokenizer, normalizers.Lowercase())  # as sentence-transformers does
    table, rows = recipe.query_table, len(model.get_output_embeddings().weight)
    weights = None if table is None else read_query_weights(files, table, tokenizer, rows)
    own = recipe.max_length or (tokenizer.model_max_length if recipe.of_sentence_transformers else None)
    lengths = choose_lengths(
        source,
        usable=usable_positions(model),
        special=tokenizer.num_special_tokens_to_add(),
        own=(own, recipe.query_max_length, recipe.document_max_length),
        asked=(max_length, query_max_length, document_max_length),
    )
    return Checkpoint(
        model,
        tokenizer,
        source,
        commit,
        head=recipe.head,
        prompts=recipe.prompts,
        lengths=lengths,
        top_k=recipe.top_k,
        query_weights=weights,
    )


def _load_model(source: str, where: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """The model in evaluation mode, and the report of what of its weights was found."""
    try:
        model, report = AutoModelForMaskedLM.from_pretrained(
            source,
            **where,
            dtype=torch.float32,
            key_mapping=WRAPPERS,
            ignore_mismatched_sizes=True,  # refused by name afterwards
            output_loading_info=True,
        )
    except pickle.UnpicklingError as error:
        raise ExportError(
            f"{source} holds more than tensors in its pickled weights, or they are damaged; they are not loaded, since "
            "they could run code: save the checkpoint as safetensors"
        ) from error
    except Exception as error:  # transformers, safetensors and the hub client raise many unrelated classes
        raise ExportError(f"{source} cannot be loaded as a masked language model: {first_lines(error)}") from error
    return model.eval(), report


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()


def _normalize_first(tokenizer: Any, step: normalizers.Normalizer) -> None:
    """Put a step before the normalizer that a tokenizer has."""
    backend = tokenizer.backend_tokenizer
    steps = [step, *([] if backend.normalizer is None else [backend.normalizer])]
    backend.normalizer = normalizers.Sequence(steps)
