"""Engines that run in PyTorch, and sentence-transformers with ONNX Runtime below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .engine import Encode, Inputs


def card(inputs: Inputs) -> Encode:
    """The model card's own code, for a batch; its dictionary of nonzero entries is left out, a top-k stands for it."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    torch.set_num_threads(inputs.threads)
    tokenizer = AutoTokenizer.from_pretrained(inputs.checkpoint)
    model = AutoModelForMaskedLM.from_pretrained(inputs.checkpoint).eval()

    def encode(texts: Sequence[str]) -> object:
        batch = tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True, max_length=inputs.max_length)
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            mask = batch["attention_mask"].unsqueeze(-1).float()
            weights = (torch.log1p(torch.relu(logits)) * mask).max(dim=1).values
        return weights.topk(inputs.top_k)

    return encode


def sentence_transformers(inputs: Inputs) -> Encode:
    """SparseEncoder on its default backend."""
    return _encode(_sparse_encoder(inputs, str(inputs.checkpoint), "torch", {}), inputs)


def sentence_transformers_int8(inputs: Inputs) -> Encode:
    """SparseEncoder on its ONNX backend, with the file of `prepare_sentence_transformers_int8`."""
    import onnxruntime as ort
    import sentence_transformers  # noqa: F401 - the reason why it does not run, where it is missing

    (quantized,) = (_st_folder(inputs) / "onnx").glob("model_*.onnx")  # beside model.onnx, the unquantized one
    options = ort.SessionOptions()
    options.intra_op_num_threads = inputs.threads
    arguments = {
        "file_name": f"onnx/{quantized.name}",
        "provider": "CPUExecutionProvider",
        "session_options": options,
    }
    return _encode(_sparse_encoder(inputs, str(_st_folder(inputs)), "onnx", arguments), inputs)


def prepare_sentence_transformers_int8(inputs: Inputs, calibration: Sequence[str]) -> None:
    """Export to ONNX and quantize with sentence-transformers' own function and configuration for this CPU."""
    from sentence_transformers import export_dynamic_quantized_onnx_model

    folder = _st_folder(inputs)
    _sparse_encoder(inputs, str(inputs.checkpoint), "torch", {}).save_pretrained(str(folder))
    model = _sparse_encoder(inputs, str(folder), "onnx", {"export": True, "provider": "CPUExecutionProvider"})
    export_dynamic_quantized_onnx_model(model, _quantization(), str(folder))


def _st_folder(inputs: Inputs) -> Path:
    return inputs.work / "sentence-transformers"


def _quantization() -> Any:
    """The name of sentence-transformers' (optimum's) int8 configuration for this CPU."""
    import platform

    from spladert.engine.machine import instruction_sets

    if platform.machine().lower() in ("arm64", "aarch64"):
        return "arm64"
    sets = instruction_sets()
    if "avx512_vnni" in sets:
        return "avx512_vnni"
    return "avx512" if "avx512f" in sets else "avx2"


def _sparse_encoder(inputs: Inputs, source: str, backend: Any, model_arguments: dict[str, Any]) -> Any:
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    torch.set_num_threads(inputs.threads)
    transformer = Transformer(
        source,
        transformer_task="fill-mask",
        max_seq_length=inputs.max_length,
        backend=backend,
        model_kwargs=model_arguments,
    )
    return SparseEncoder(modules=[transformer, SpladePooling("max")], device="cpu")


def _encode(model: Any, inputs: Inputs) -> Encode:
    def encode(texts: Sequence[str]) -> object:
        return model.encode(list(texts), batch_size=32, max_active_dims=inputs.top_k, show_progress_bar=False)

    return encode
