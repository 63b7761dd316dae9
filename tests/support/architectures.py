"""A tiny random checkpoint of every model type that `AutoModelForMaskedLM` knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.checkpoints import LINES, make_tokenizer

# What configs of all types call their sizes: each type takes those that it has. One layer of a kind is enough to show
# whether it is exported rightly, and the tracing of each costs seconds.
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 140,
    "embedding_size": 32,
    "dim": 32,
    "n_layers": 1,
    "n_heads": 4,
    "hidden_dim": 48,
    "emb_dim": 32,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "cls_token_id": 2,
    "eos_token_id": 3,
    "sep_token_id": 3,
}
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 16,
}
# What a type needs beside or instead of these.
CHANGES: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 16},
    "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 16, "legacy": True},
    "esmc": {"num_key_value_heads": None},
    "electra": {"embedding_size": 16},
    "funnel": {"num_hidden_layers": None, "block_sizes": [1, 1], "d_head": 8, "d_inner": 48, "n_head": 4},
    "layoutlm": {"max_2d_position_embeddings": 16},
    "luke": {"entity_vocab_size": 8, "entity_emb_size": 8},
    "mobilebert": {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "modernbert": {"local_attention": 16, "num_hidden_layers": 2},
    "mpnet": {"relative_attention_num_buckets": 32},
    "neomme": {"head_dim": 16, "embedding_rank": 16, "num_hidden_layers": 2, "sliding_window": 8},
    "nomic_bert": {"head_dim": None, "num_key_value_heads": None},
    "nystromformer": {"num_landmarks": 64, "segment_means_seq_len": 64},
    "perceiver": {"num_latents": 4, "d_latents": 16, "num_blocks": 1, "num_self_attends_per_block": 1},
    "reformer": {
        "axial_pos_shape": [8, 16],
        "axial_pos_embds_dim": [8, 24],
        "feed_forward_size": 48,
        "is_decoder": False,
    },
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 48},
    "roc_bert": {"pronunciation_vocab_size": 8, "shape_vocab_size": 8},
    "squeezebert": {"q_groups": 1, "k_groups": 1, "v_groups": 1},
    "tapas": {"type_vocab_sizes": [3, 4, 2, 2, 2, 2, 2]},
    "ultrabert": {
        "prediction_head_size": 24,
        "sliding_window": 8,
        "num_hidden_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "xmod": {"languages": ["ko_KR", "en_XX"], "default_language": "ko_KR"},
}


def make_config(kind: str, vocabulary: int, **changes: Any) -> Any:
    """The tiny config of a model type, with changes to it."""
    from transformers import AutoConfig

    config_class = type(AutoConfig.for_model(kind))
    if kind in ("modernvbert", "ultravbert"):
        text = make_config(kind.replace("vbert", "bert"), vocabulary)
        vision = {"model_type": "siglip_vision_model", **VISION}
        return config_class(text_config=text.to_dict(), vision_config=vision, image_token_id=5)
    defaults = config_class()
    tiny = {**TINY, "vocab_size": vocabulary}
    names = {name: value for name, value in tiny.items() if hasattr(defaults, name)}
    merged = {**names, **CHANGES.get(kind, {}), **changes}
    return config_class(**{name: value for name, value in merged.items() if value is not None})


def make_model(kind: str, vocabulary: int, **changes: Any) -> Any:
    """A random model in evaluation mode; its weights are large enough for every part of it to matter."""
    import torch
    from transformers import AutoModelForMaskedLM

    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(make_config(kind, vocabulary, **changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # biases and norms that are not all zeros and ones
                parameter.add_(torch.randn_like(parameter) * 0.1)
            else:
                parameter.mul_(3.0)
    return model


def make_checkpoint(kind: str, folder: Path, **changes: Any) -> Path:
    """Save the tiny random checkpoint of a model type, with the tests' tokenizer."""
    import torch

    tokenizer = make_tokenizer()
    model = make_model(kind, len(tokenizer) + 3, **changes)  # three padding rows, as real vocabularies have
    decoder = model.get_output_embeddings()
    if getattr(decoder, "bias", None) is not None:  # a few dozen active dimensions a text
        inputs = tokenizer(LINES, return_tensors="pt", padding=True, return_token_type_ids=False)
        with torch.no_grad():
            logits = model(**inputs).logits.flatten(0, 1)
            decoder.bias.sub_(logits.float().quantile(0.97))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
