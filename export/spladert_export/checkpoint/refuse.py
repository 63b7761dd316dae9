"""Refusing early, in one sentence, what could not become a right graph: before anything that takes long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from spladert import ExportError

from ..graph.decoder import find_decoder, probe_ids
from .files import CheckpointFiles
from .sentence_transformers import Recipe
from .supported import support

# A vocabulary may be padded, usually to a multiple of 64 or 128 rows; more than this is another tokenizer's model.
MOST_PADDING_ROWS = 1024
KNOWN_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
PADDING_MATTERS = 1e-3  # of a logit: rounding makes less of a difference to the padding beside a text


def refuse_files(files: CheckpointFiles, recipe: Recipe) -> None:
    """What the small files show, before weights are read.

    Raises:
        ExportError: there is no config, it is of a type that cannot be exported, or an adapter lies beside the weights.
    """
    name = recipe.file("config.json")
    config = files.json(name)
    if config is None:
        raise ExportError(
            f"{files.source!r} has no {name}, so it is no checkpoint; give a checkpoint's folder or a hub id"
        )
    if files.path(recipe.file("adapter_config.json")) is not None:
        raise ExportError(
            f"{files.source} has an adapter (adapter_config.json) beside its weights; merge it into them with peft's "
            "merge_and_unload() and save the model again"
        )
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not kind:
        raise ExportError(f"{files.source}: {name} names no model_type; save the model with save_pretrained(...)")
    known = support(str(kind))
    if known.status == "refused":
        raise ExportError(f"{files.source} is a {kind} model, which cannot be exported: {known.reason}")


def refuse_tokenizer(files: CheckpointFiles, recipe: Recipe, tokenizer: Any) -> None:
    """A tokenizer that is not the checkpoint's, or whose tokens the graph cannot be given.

    sentence-transformers gives the model its tokens' types too, the model card does not.

    Raises:
        ExportError: see above.
    """
    source = files.source
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ExportError(
            f"{source} has no fast tokenizer (tokenizer.json): save one with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...) where its conversion is supported"
        )
    names = ["tokenizer.json", *(name for name in type(tokenizer).vocab_files_names.values() if name)]
    places = [recipe.file(name) for name in dict.fromkeys(names)]
    if all(files.path(place) is None for place in places):
        raise ExportError(
            f"{source} has no tokenizer (none of {', '.join(places)}); save it beside the weights with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    given = tokenizer("a b")
    others = sorted(set(given) - KNOWN_INPUTS)
    if others:
        raise ExportError(f"{source}: its tokenizer gives the model {', '.join(others)} too, which is not supported")
    if recipe.of_sentence_transformers and any(given.get("token_type_ids", [])):
        raise ExportError(f"{source}: its tokenizer gives tokens types other than 0, which is not supported")


def refuse_weights(source: str, model: Any, report: Mapping[str, Any]) -> None:
    """Weights that do not make the model of the config.

    Raises:
        ExportError: shapes differ, weights are missing, or are no numbers.
    """
    mismatched = sorted(report["mismatched_keys"])
    if mismatched:
        name, found, expected = mismatched[0]
        raise ExportError(
            f"{source}: {name} has shape {tuple(found)} where config.json wants {tuple(expected)}; they do not belong "
            "together"
        )
    missing = sorted(report["missing_keys"])
    if missing:
        prefix = _prefix(missing, report["unexpected_keys"])
        hint = (
            f"they are there with {prefix!r} before their names, as a wrapper saves them: save the model in it"
            if prefix
            else "a SPLADE checkpoint is saved from AutoModelForMaskedLM, head included"
        )
        raise ExportError(
            f"{source} lacks {len(missing)} trained weights that its masked-LM head or encoder needs "
            f"({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}): {hint}"
        )
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise ExportError(f"{source} has NaN or infinite weights in {name}; take an earlier state of the training")


def _prefix(missing: list[str], unexpected: list[str] | set[str]) -> str | None:
    """What stands before the first missing weight's name in one that the model has no place for."""
    return next((name.removesuffix(missing[0]) for name in sorted(unexpected) if name.endswith(f".{missing[0]}")), None)


def refuse_vocabulary(source: str, model: Any, tokenizer: Any) -> None:
    """A tokenizer of another model.

    Raises:
        ExportError: it has tokens that the decoder has no rows for, or far too few.
    """
    rows, tokens = int(model.get_output_embeddings().weight.shape[0]), len(tokenizer)
    highest = max(tokenizer.get_vocab().values())
    if highest >= rows or rows - tokens > MOST_PADDING_ROWS:
        raise ExportError(
            f"{source}: the tokenizer has {tokens} tokens (highest id {highest}) and the model {rows} vocabulary rows; "
            "they do not belong together"
        )


def refuse_behaviour(source: str, model: Any) -> None:
    """What a few tokens sent through the model show.

    Raises:
        ExportError: the model does not run on token ids alone, its logits are not its decoder's, or they depend on the
            padding beside a text.
    """
    ids = probe_ids(model, 5)
    try:
        with torch.no_grad():
            alone = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            padded = torch.cat([ids, ids[:, :3]], dim=1)
            mask = torch.tensor([[1] * 5 + [0] * 3])
            beside = model(input_ids=padded, attention_mask=mask).logits[:, :5]
    except Exception as error:  # whatever the model's code raises
        if getattr(model.config, "pad_token_id", 0) is None:
            raise ExportError(
                f"{source}: config.json has pad_token_id null, and the model needs it ({first_lines(error)}); set it "
                "to the tokenizer's padding id"
            ) from error
        raise ExportError(f"{source} does not run on token ids alone: {first_lines(error)}") from error
    find_decoder(model)
    if (alone - beside).abs().max() > PADDING_MATTERS * max(float(alone.abs().max()), 1.0):
        raise ExportError(
            f"{source} ({type(model).__name__}) gives a text another vector beside longer ones: its layers mix the "
            "padding in, which cannot be exported rightly"
        )


def first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:400] or type(error).__name__
