"""Which model types work: what has been proven by parity on a tiny checkpoint of each, and what is refused, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from transformers import CONFIG_MAPPING, __version__
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

PROVEN = frozenset(
    {
        "albert",
        "bert",
        "big_bird",
        "camembert",
        "data2vec-text",
        "deberta",
        "deberta-v2",
        "distilbert",
        "electra",
        "ernie",
        "esm",
        "esmc",
        "eurobert",
        "flaubert",
        "gte",
        "ibert",
        "jina_embeddings_v3",
        "luke",
        "megatron-bert",
        "modernbert",
        "modernvbert",
        "mpnet",
        "neomme",
        "nomic_bert",
        "rembert",
        "roberta",
        "roberta-prelayernorm",
        "roformer",
        "squeezebert",
        "ultrabert",
        "ultravbert",
        "xlm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)

_GENERATES = "it generates text by a decoder, and gives no logits for the tokens of the text itself"
_HASHES = "its attention compares tokens by random hashes, so that a text's vector is another one each time"
_READS_PADDING = "its layers mix the padding into the text, so that a vector depends on the other texts of its batch"
REFUSED: Mapping[str, str] = {
    "bart": _GENERATES,
    "convbert": _READS_PADDING,
    "fnet": _READS_PADDING,
    "funnel": "its layers shorten the text by steps that PyTorch's exporter fixes to one length",
    "layoutlm": "it reads the place of every word on its page beside the text",
    "longformer": "its attention goes by windows whose number PyTorch's exporter cannot leave open",
    "mbart": _GENERATES,
    "mobilebert": "its decoder is put together out of two matrices",
    "mra": "its attention needs a CUDA kernel, without which PyTorch takes zeros for it",
    "mvp": _GENERATES,
    "nystromformer": _READS_PADDING,
    "perceiver": "it gives logits for a fixed number of bytes, not for tokens",
    "reformer": _HASHES,
    "roc_bert": "it reads the shape and pronunciation of every character beside the text",
    "tapas": "it reads tables with a question, not plain text",
    "yoso": _HASHES,
}


@dataclass(frozen=True)
class Support:
    """Whether a model type can be exported; `reason` says why not, or what is known of one that was never tried."""

    status: Literal["proven", "refused", "untried"]
    reason: str = ""


def supported() -> dict[str, Support]:
    """What is known of every model type (`model_type` in config.json) that this transformers has a masked LM for.

    "proven" types are compared with PyTorch by the tests of this package, on a tiny random checkpoint each. "untried"
    ones may be exported: an export compares its graph with PyTorch, and is refused where they differ.
    """
    return {kind: support(kind) for kind in sorted(MODEL_FOR_MASKED_LM_MAPPING_NAMES)}


def support(kind: str) -> Support:
    """What is known of one model type."""
    if kind in REFUSED:
        return Support("refused", REFUSED[kind])
    if kind in PROVEN:
        return Support("proven")
    if kind not in CONFIG_MAPPING:
        return Support("refused", f"transformers {__version__} does not know it; a newer one may")
    if kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return Support("refused", "transformers has no masked-LM head for it (AutoModelForMaskedLM)")
    return Support("untried", "an export compares its graph with PyTorch, and is refused where they differ")
