"""Loading a checkpoint, and refusing early what could not become a right graph."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForMaskedLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from spladert.bundle import Source
from spladert.errors import ExportError

# A vocabulary may be padded, usually to a multiple of 64 or 128 rows; more than this is another tokenizer's model.
MOST_PADDING_ROWS = 1024


@dataclass(frozen=True)
class Checkpoint:
    """A masked language model in evaluation mode (fp32, on CPU) with its tokenizer."""

    model: Any
    tokenizer: Any
    source: str
    revision: str | None

    @property
    def vocabulary_size(self) -> int:
        return int(self.model.get_output_embeddings().weight.shape[0])

    def tokenizer_json(self) -> str:
        """The tokenizer as `AutoTokenizer` built it, which need not be the checkpoint's tokenizer.json."""
        backend = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        backend.no_padding()
        backend.no_truncation()
        return str(backend.to_str())

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


def load_checkpoint(source: str, revision: str | None, max_length: int) -> Checkpoint:
    """Load a hub id or a local folder with `AutoModelForMaskedLM` and `AutoTokenizer`; remote code is never run.

    Raises:
        ExportError: nothing loads from `source`; it has no trained masked-LM head, no fast tokenizer, a vocabulary that
            disagrees with its tokenizer, or fewer positions than `max_length`.
    """
    if not Path(source).exists() and (source.startswith((".", "/", "~")) or source.count("/") > 1):
        raise ExportError(f"{source} does not exist; give a checkpoint's folder or a hub id (owner/name)")
    if Path(source).is_file():
        raise ExportError(f"{source} is a file; give the checkpoint's folder, with config.json, or a hub id")
    if Path(source).exists() and not (Path(source) / "config.json").is_file():
        raise ExportError(
            f"{source!r} has no config.json, so it is no checkpoint; give a checkpoint's folder or a hub id"
        )
    if Path(source).exists() and revision is not None:
        raise ExportError(f"revision {revision!r} is for hub ids, and {source} is a folder; leave it out")
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model, report = AutoModelForMaskedLM.from_pretrained(
            source,
            revision=revision,
            trust_remote_code=False,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # refused below, by name
            output_loading_info=True,
        )
    except pickle.UnpicklingError as error:
        raise ExportError(
            f"{source} holds more than tensors in its pickled weights, or they are damaged; they are not loaded, since "
            "they could run code: save the checkpoint as safetensors"
        ) from error
    except Exception as error:  # transformers, safetensors and the hub client raise many unrelated classes
        raise ExportError(f"{source} cannot be loaded as a masked language model: {_first_lines(error)}") from error
    else:
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
        except Exception as error:
            raise ExportError(f"{source} has no tokenizer that loads: {_first_lines(error)}") from error
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()
    checkpoint = Checkpoint(model.eval(), tokenizer, source, revision or getattr(model.config, "_commit_hash", None))
    _refuse(checkpoint, report, max_length)
    return checkpoint


def _refuse(checkpoint: Checkpoint, report: dict[str, Any], max_length: int) -> None:
    source, config = checkpoint.source, checkpoint.model.config
    mismatched = sorted(report["mismatched_keys"])
    if mismatched:
        name, found, expected = mismatched[0]
        raise ExportError(
            f"{source}: {name} has shape {tuple(found)} where config.json wants {tuple(expected)}; they do not belong "
            "together"
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ExportError(
            f"{source} lacks {len(missing)} trained weights that its masked-LM head or encoder needs "
            f"({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}): a SPLADE checkpoint is saved from "
            "AutoModelForMaskedLM, head included"
        )
    if checkpoint.model.get_output_embeddings() is None:
        raise ExportError(f"{source} ({type(checkpoint.model).__name__}) has no decoder to give token weights")
    if getattr(checkpoint.tokenizer, "backend_tokenizer", None) is None:
        raise ExportError(
            f"{source} has no fast tokenizer (tokenizer.json): save one with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...) where its conversion is supported"
        )
    for name, parameter in checkpoint.model.named_parameters():
        if not parameter.isfinite().all():
            raise ExportError(f"{source} has NaN or infinite weights in {name}; take an earlier state of the training")
    rows, tokens = checkpoint.vocabulary_size, len(checkpoint.tokenizer)
    highest = max(checkpoint.tokenizer.get_vocab().values())
    if highest >= rows or rows - tokens > MOST_PADDING_ROWS:
        raise ExportError(
            f"{source}: the tokenizer has {tokens} tokens (highest id {highest}) and the model {rows} vocabulary rows; "
            "they do not belong together"
        )
    special = checkpoint.tokenizer.num_special_tokens_to_add()
    if max_length <= special:
        raise ExportError(f"max_length {max_length} leaves no room beside the {special} special tokens of {source}")
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None:
        # RoBERTa's positions start behind the padding id
        usable = positions - (config.pad_token_id + 1 if "roberta" in config.model_type else 0)
        if max_length > usable:
            raise ExportError(f"{source} has {usable} positions; max_length {max_length} does not fit")


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:400] or type(error).__name__
