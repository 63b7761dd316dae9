"""Engines on ONNX Runtime: optimum's export, and a plain torch.onnx export with the pooling in the graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .engine import Encode, Inputs


def optimum(inputs: Inputs) -> Encode:
    """optimum's ONNX export in fp32, its logits pooled in numpy, as its users write it."""
    import numpy as np
    import onnxruntime as ort
    from optimum.onnxruntime import ORTModelForMaskedLM
    from transformers import AutoTokenizer

    options = ort.SessionOptions()
    options.intra_op_num_threads = inputs.threads
    tokenizer = AutoTokenizer.from_pretrained(inputs.checkpoint)
    model = ORTModelForMaskedLM.from_pretrained(inputs.work / "optimum", session_options=options)

    def encode(texts: Sequence[str]) -> object:
        batch = tokenizer(list(texts), return_tensors="np", padding=True, truncation=True, max_length=inputs.max_length)
        mask = batch["attention_mask"]
        logits = model(input_ids=batch["input_ids"], attention_mask=mask).logits
        weights = (np.log1p(np.maximum(logits, 0)) * mask[..., None].astype(np.float32)).max(axis=1)
        indices = np.argpartition(-weights, inputs.top_k, axis=1)[:, : inputs.top_k]
        return indices, np.take_along_axis(weights, indices, axis=1)

    return encode


def prepare_optimum(inputs: Inputs, calibration: Sequence[str]) -> None:
    from optimum.onnxruntime import ORTModelForMaskedLM

    ORTModelForMaskedLM.from_pretrained(inputs.checkpoint, export=True).save_pretrained(inputs.work / "optimum")


def pooled_fp32(inputs: Inputs) -> Encode:
    """The graph of `export_pooled`."""
    return _session(inputs, pooled_graph(inputs))


def pooled_int8(inputs: Inputs) -> Encode:
    """The graph of `export_pooled` after ONNX Runtime's quantize_dynamic."""
    return _session(inputs, _int8_graph(inputs))


def prepare_pooled_int8(inputs: Inputs, calibration: Sequence[str]) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    export_pooled(inputs, calibration)
    quantize_dynamic(pooled_graph(inputs), _int8_graph(inputs), weight_type=QuantType.QInt8)


def pooled_graph(inputs: Inputs) -> Path:
    return inputs.work / "pooled" / "fp32.onnx"


def _int8_graph(inputs: Inputs) -> Path:
    return inputs.work / "pooled" / "int8.onnx"


def export_pooled(inputs: Inputs, calibration: Sequence[str]) -> None:
    """torch.onnx of the model with pooling and top-k behind it: the best that a plain export can do.

    The pooling is the cheap order of the card's (max first, then relu and log1p of the k winners), and the [B, S, V]
    logits are in the graph.
    """
    import torch
    from torch import Tensor, nn
    from transformers import AutoModelForMaskedLM

    if pooled_graph(inputs).exists():
        return

    class Pooled(nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
            logits = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            hidden = (1 - attention_mask[:, :, None]).to(logits.dtype) * 1e9
            values, indices = torch.topk((logits - hidden).amax(dim=1), inputs.top_k, dim=-1)
            return indices.to(torch.int32), torch.log1p(torch.relu(values))

    pooled_graph(inputs).parent.mkdir(parents=True, exist_ok=True)
    model = Pooled(AutoModelForMaskedLM.from_pretrained(inputs.checkpoint).eval()).eval()
    example = torch.ones(2, 8, dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=inputs.max_length)}
    with torch.no_grad():
        torch.onnx.export(
            model,
            (example, torch.ones_like(example)),
            str(pooled_graph(inputs)),
            input_names=["input_ids", "attention_mask"],
            output_names=["indices", "values"],
            dynamic_shapes={"input_ids": axes, "attention_mask": axes},
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def load_tokenizer(inputs: Inputs) -> Any:
    """The checkpoint's tokenizer without transformers around it: pads to the longest text, cuts to the maximum."""
    import json

    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(inputs.checkpoint / "tokenizer.json"))
    pad = json.loads((inputs.checkpoint / "tokenizer_config.json").read_text(encoding="utf-8"))["pad_token"]
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(pad), pad_token=pad)
    tokenizer.enable_truncation(inputs.max_length)
    return tokenizer


def _session(inputs: Inputs, graph: Path) -> Encode:
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = inputs.threads
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    tokenizer = load_tokenizer(inputs)

    def encode(texts: Sequence[str]) -> object:
        encodings = tokenizer.encode_batch(list(texts))
        ids = np.array([one.ids for one in encodings], dtype=np.int64)
        mask = np.array([one.attention_mask for one in encodings], dtype=np.int64)
        return session.run(None, {"input_ids": ids, "attention_mask": mask})

    return encode
