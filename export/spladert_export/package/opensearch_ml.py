"""The zip that OpenSearch's ML plugin takes as a local sparse encoding model, and the body that registers it."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnx_ir as ir

from spladert import ExportError
from spladert.bundle import Bundle, Variant
from spladert.tokenizer import load_tokenizer

from ..lower.dense import lower_to_dense

CHUNK_BYTES = 10_000_000  # of an upload; OpenSearch's own
PRECISIONS = ("int8", "fp32")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever the zip is made


@dataclass(frozen=True)
class MlPackage:
    """A zip that was made.

    Attributes:
        path: of the zip.
        variant: the bundle's variant in it.
        registration: the body of `_register_meta`.
    """

    path: Path
    variant: str
    registration: dict[str, object]


def package_for_opensearch(
    bundle: Bundle, out: Path, *, variant: str | None = None, name: str | None = None
) -> MlPackage:
    """Write the zip to `out`, and beside it, as `out`.json, the body that registers it.

    Args:
        bundle: an opened bundle.
        out: the zip's path; what is there is replaced when the new one is whole.
        variant: the variant's name or precision; None takes cpu-int8, else cpu-fp32.
        name: the model's name in the cluster; None is the checkpoint's.

    Raises:
        BundleError: a file of the bundle is missing or altered.
        ExportError: no variant fits, or the bundle gives vectors that no single graph can (prompts).
    """
    chosen = _variant(bundle, variant)
    if any(bundle.manifest.prompts.values()):
        raise ExportError("the bundle puts prompts before its texts, which the ML plugin cannot: serve it instead")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".spladert-", dir=out.parent) as folder:
        graph = Path(folder) / f"{chosen.name}.onnx"
        _write_graph(bundle, chosen, graph)
        made = Path(folder) / "made.zip"
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_entry("tokenizer.json"), _tokenizer(bundle))
            archive.writestr(_entry(graph.name), graph.read_bytes())
        registration = _registration(made, bundle, chosen, name)
        made.replace(out)
    out.with_name(f"{out.name}.json").write_text(json.dumps(registration, indent=2) + "\n", encoding="utf-8")
    return MlPackage(out, chosen.name, registration)


def _variant(bundle: Bundle, wanted: str | None) -> Variant:
    fitting = {
        variant.precision: variant
        for variant in bundle.manifest.variants
        if variant.target == "cpu" and variant.precision in PRECISIONS
    }
    for precision in PRECISIONS:
        if precision in fitting and wanted in (None, precision, fitting[precision].name):
            return fitting[precision]
    there = ", ".join(variant.name for variant in fitting.values()) or "none"
    raise ExportError(
        f"the ML plugin takes a CPU variant in {' or '.join(PRECISIONS)}, "
        f"and of these the bundle has {there}{f', not {wanted}' if wanted else ''}; export one with --variants"
    )


def _write_graph(bundle: Bundle, variant: Variant, path: Path) -> None:
    model = ir.load(bundle.graph(variant))
    lower_to_dense(model, bundle.manifest.vocabulary_size)
    ir.save(ir.external_data.load_to_model(model), path)
    onnx.checker.check_model(str(path))


def _tokenizer(bundle: Bundle) -> str:
    """The tokenizer with the truncation that the bundle's documents have, and no padding."""
    manifest = bundle.manifest
    length = manifest.document_max_length or manifest.max_length
    text: str = load_tokenizer(bundle.tokenizer_json(), length).to_str()
    return text


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _registration(made: Path, bundle: Bundle, variant: Variant, name: str | None) -> dict[str, object]:
    size = made.stat().st_size
    with made.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "name": name or f"{bundle.manifest.source.id}-{variant.name}",
        "version": "1.0.0",
        "description": f"SPLADE sparse encoder, top {bundle.manifest.top_k} of {bundle.manifest.vocabulary_size}",
        "function_name": "SPARSE_ENCODING",
        "model_format": "ONNX",
        "model_content_size_in_bytes": size,
        "model_content_hash_value": digest,
        "total_chunks": math.ceil(size / CHUNK_BYTES),
    }
