"""OpenVINO on the plain torch.onnx export with pooling and top-k in the graph: fp32, bf16, and int8 by NNCF."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .engine import Encode, Inputs, NotHereError
from .onnx_engines import export_pooled, load_tokenizer, pooled_graph


def openvino(precision: str) -> Callable[[Inputs], Encode]:
    """A loader for "fp32", "bf16" or "int8". One synchronous request on all threads (the LATENCY hint), compiled
    models cached on disk, as OpenVINO's guides recommend."""

    def load(inputs: Inputs) -> Encode:
        import numpy as np
        import openvino as ov

        core = ov.Core()
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": inputs.threads,
            "CACHE_DIR": str(inputs.work / "openvino" / "cache"),
        }
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise NotHereError("not on this CPU: OpenVINO's OPTIMIZATION_CAPABILITIES has no BF16")
        if precision != "int8":  # int8 leaves what is not quantized to OpenVINO's own choice
            settings["INFERENCE_PRECISION_HINT"] = {"fp32": "f32", "bf16": "bf16"}[precision]
        graph = _graph(inputs, "int8" if precision == "int8" else "fp32")
        model = core.compile_model(str(graph), "CPU", settings)
        of_thread = threading.local()  # a request serves one call at a time
        tokenizer = load_tokenizer(inputs)

        def encode(texts: Sequence[str]) -> object:
            if not hasattr(of_thread, "request"):
                of_thread.request = model.create_infer_request()
            ids, mask = _arrays(tokenizer, texts)
            outputs = of_thread.request.infer({"input_ids": ids, "attention_mask": mask})
            return [np.array(value) for value in outputs.values()]

        return encode

    return load


def prepare_fp32(inputs: Inputs, calibration: Sequence[str]) -> None:
    """Convert the ONNX export. OpenVINO's half-precision weight compression is off: fp32 means fp32."""
    import openvino as ov

    target = _graph(inputs, "fp32")
    if not target.exists():
        export_pooled(inputs, calibration)
        ov.save_model(ov.convert_model(str(pooled_graph(inputs))), str(target), compress_to_fp16=False)


def prepare_int8(inputs: Inputs, calibration: Sequence[str]) -> None:
    """Static int8 by NNCF with its settings for transformers: SmoothQuant, asymmetric activations."""
    import nncf
    import openvino as ov

    prepare_fp32(inputs, calibration)
    tokenizer = load_tokenizer(inputs)

    def batches() -> Iterator[dict[str, Any]]:
        for text in calibration:
            ids, mask = _arrays(tokenizer, [text])
            yield {"input_ids": ids, "attention_mask": mask}

    quantized = nncf.quantize(
        ov.Core().read_model(str(_graph(inputs, "fp32"))),
        nncf.Dataset(list(batches())),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(calibration),
    )
    ov.save_model(quantized, str(_graph(inputs, "int8")))


def _graph(inputs: Inputs, precision: str) -> Path:
    return inputs.work / "openvino" / f"{precision}.xml"


def _arrays(tokenizer: Any, texts: Sequence[str]) -> tuple[Any, Any]:
    """`input_ids`, `attention_mask`: int64 [texts, longest]."""
    import numpy as np

    encodings = tokenizer.encode_batch(list(texts))
    ids = np.array([one.ids for one in encodings], dtype=np.int64)
    return ids, np.array([one.attention_mask for one in encodings], dtype=np.int64)
