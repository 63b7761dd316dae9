"""Small checkpoints with random weights for the tests: real architectures, a real (tiny) Korean WordPiece tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

LINES = [
    "당뇨병 치료 방법을 알려 주세요",
    "손해배상 청구 소송에서 위자료는 어떻게 산정되나요",
    "인공지능 기술은 빠르게 발전하고 있다",
    "계약서에 서명하기 전에 약관을 확인해야 한다",
    "오늘 서울의 날씨는 맑고 기온은 영상 이십 도입니다",
    "The quick brown fox jumps over the lazy dog",
    "대한민국 헌법 제1조 1항은 민주공화국을 말한다",
    "혈당과 인슐린, 콜레스테롤 수치를 관리한다",
]
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
WIDTH, LAYERS, HEADS = 48, 3, 4


def make_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=list(SPECIAL.values()), show_progress=False, min_frequency=1
    )
    backend.train_from_iterator(LINES, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


def make_config(architecture: str, vocabulary: int) -> Any:
    import transformers as t

    common = {"vocab_size": vocabulary, "pad_token_id": 0}
    bert = {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 80,
        "max_position_embeddings": 140,
    }
    match architecture:
        case "modernbert":
            return t.ModernBertConfig(
                **common,
                **bert | {"max_position_embeddings": 512, "intermediate_size": 56},
                cls_token_id=2,
                sep_token_id=3,
                bos_token_id=2,
                eos_token_id=3,
            )
        case "bert":
            return t.BertConfig(**common, **bert)
        case "distilbert":
            return t.DistilBertConfig(
                **common, dim=WIDTH, n_layers=LAYERS, n_heads=HEADS, hidden_dim=80, max_position_embeddings=140
            )
        case "xlm-roberta":
            return t.XLMRobertaConfig(
                **common, **bert | {"max_position_embeddings": 141}, bos_token_id=2, eos_token_id=3
            )
    raise ValueError(architecture)


ARCHITECTURES = ("modernbert", "bert", "distilbert", "xlm-roberta")


def make_checkpoint(architecture: str, folder: Path, **changes: Any) -> Path:
    """Save a random checkpoint of an architecture whose vectors have a few dozen active dimensions."""
    import torch
    from transformers import AutoModelForMaskedLM

    tokenizer = make_tokenizer()
    config = make_config(architecture, len(tokenizer) + 3)  # three padding rows, as real vocabularies have
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # biases and norms that are not all zeros and ones
                parameter.add_(torch.randn_like(parameter) * 0.1)
            else:
                parameter.mul_(3.0)
        decoder = model.get_output_embeddings()
        inputs = tokenizer(LINES, return_tensors="pt", padding=True, return_token_type_ids=False)
        logits = model(**inputs).logits.flatten(0, 1)
        decoder.bias.sub_(logits.quantile(0.97))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def with_outliers(folder: Path, out: Path) -> Path:
    """A ModernBERT checkpoint that computes the same as the one in `folder`, with outlier channels.

    Three channels are 20 times as large where the layers read them, which is undone in the weights there.
    """
    import shutil

    import torch
    from transformers import AutoModelForMaskedLM

    shutil.copytree(folder, out)
    model = AutoModelForMaskedLM.from_pretrained(out)
    channels = torch.tensor([3, 17, 31])
    with torch.no_grad():
        for number, layer in enumerate(model.model.layers):
            if number:
                layer.attn_norm.weight[channels] *= 20
                layer.attn.Wqkv.weight[:, channels] /= 20
            layer.mlp_norm.weight[channels] *= 20
            layer.mlp.Wi.weight[:, channels] /= 20
            half = layer.mlp.Wi.weight.shape[0] // 2
            layer.mlp.Wi.weight[half + channels] *= 20
            layer.mlp.Wo.weight[:, channels] /= 20
    model.save_pretrained(out)
    return out
