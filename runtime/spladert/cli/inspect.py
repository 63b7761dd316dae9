"""`spladert inspect`: what a bundle is, whether it is intact, and what of it runs on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..bundle import FILE_NAME, Bundle, Variant, open_bundle
from ..encoder import SparseEncoder
from ..engine.machine import INT8_DOT_PRODUCTS, instruction_sets
from ..engine.session import onnxruntime_module
from ..errors import BundleError, DependencyError, SpladertError
from .options import json_option, revision_option, write_json
from .terminal import stdout_console


@click.command("inspect")
@click.argument("bundle", required=False)
@revision_option
@json_option
def inspect_command(bundle: str | None, revision: str | None, json_path: Path | None) -> None:
    """What BUNDLE is (a folder or a hub id; none means the one that comes with spladert), and whether it is intact.

    Every file is hashed; of a hub id, the variant that runs here and those that were downloaded before. Works without
    onnxruntime too. The exit code is 1 where a file is missing or altered.
    """
    opened = open_bundle(bundle, revision=revision)
    runtime = this_machine(opened)
    files = check_files(opened)
    facts = {"path": str(opened.path), "manifest": asdict(opened.manifest), "files": files, "runtime": runtime}
    if not write_json(facts, json_path):
        _show(opened, files, runtime)
    broken = [problem for problem in files.values() if problem is not None]
    if broken:
        raise BundleError(f"{opened.path} is not intact: {'; '.join(broken)}")


def check_files(bundle: Bundle) -> dict[str, str | None]:
    """What is wrong with the tokenizer and with each variant's files, by name; None where they are intact.

    A variant that is on the hub alone is not among them.
    """
    checks: dict[str, Callable[[], object]] = {"tokenizer": bundle.tokenizer_json}
    here = filter(bundle.is_fetched, bundle.manifest.variants)
    checks |= {variant.name: partial(bundle.graph, variant) for variant in here}
    found: dict[str, str | None] = {}
    for name, check in checks.items():
        try:
            check()
            found[name] = None
        except BundleError as error:
            found[name] = str(error)
    return found


def this_machine(bundle: Bundle) -> dict[str, Any]:
    """onnxruntime's version and providers here, and the variant that "auto" runs and why, or why there is none.

    A variant is named only once a text went through it.
    """
    nothing = {"device": None, "variant": None, "why": None, "runs_on": None}
    sets = instruction_sets()
    try:
        ort = onnxruntime_module()
    except DependencyError as error:
        return {"onnxruntime": None, "providers": [], "instruction_sets": sets, **nothing, "problem": str(error)}
    facts = {"onnxruntime": ort.__version__, "providers": ort.get_available_providers(), "instruction_sets": sets}
    try:
        with SparseEncoder.from_bundle(bundle) as encoder:
            encoder.encode("1")
            why = why_it_runs(encoder.device, encoder.variant, sets)
            found = {"device": encoder.device, "variant": encoder.variant.name, "why": why, "problem": None}
            return facts | found | {"runs_on": encoder.engine.runs_on}
    except SpladertError as error:
        return facts | nothing | {"problem": str(error)}


def why_it_runs(device: str, variant: Variant, sets: Sequence[str]) -> str:
    """Why a variant is the one that runs on a CPU with the instruction sets `sets`, or on another device."""
    if device != "cpu":
        return f"the bundle's best for {device}, which is here"
    if variant.precision != "int8":
        return "the bundle has no int8 for CPU, which is the fastest there"
    found = next((name for name in INT8_DOT_PRODUCTS if name in sets), None)
    return "the fastest on CPUs; its 7-bit weights are exact " + (
        f"with {found}, which this CPU has" if found else "without VNNI too, which this CPU does not have"
    )


def _show(bundle: Bundle, files: dict[str, str | None], runtime: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in [*_about(bundle, files), *_runtime(runtime)]:
        table.add_row(Text(name, style="bold"), Text(value))
    console = stdout_console()
    console.print(table)
    for variant in bundle.manifest.variants:
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in _variant(variant, files):
            table.add_row(f"  {name}", Text(value))
        here = Text(" (runs here)", style="green") if variant.name == runtime["variant"] else Text("")
        console.print()
        console.print(Text(variant.name, style="bold") + here)
        console.print(table)


def _about(bundle: Bundle, files: dict[str, str | None]) -> list[tuple[str, str]]:
    manifest = bundle.manifest
    source = manifest.source
    excluded = len(manifest.excluded_token_ids)
    return [
        ("bundle", str(bundle.path)),
        ("source", source.id + (f" at {source.revision}" if source.revision is not None else "")),
        ("architecture", f"{source.architecture}, {source.parameters:,} parameters"),
        ("weights sha256", source.weights_sha256),
        ("max_length", f"{manifest.max_length} tokens"),
        ("top_k", f"{manifest.top_k} entries"),
        (
            "vocabulary",
            f"{manifest.vocabulary_size:,} tokens" + (f", {excluded} never in a vector" if excluded else ""),
        ),
        ("tokenizer", _file_state(manifest.tokenizer.bytes, files, "tokenizer")),
        ("made with", ", ".join(f"{name} {version}" for name, version in manifest.made_with.items())),
    ]


def _runtime(runtime: dict[str, Any]) -> list[tuple[str, str]]:
    if runtime["onnxruntime"] is None:
        return [("onnxruntime", f"none: {runtime['problem']}")]
    if runtime["problem"] is None:
        picked = f"{runtime['variant']} on {runtime['device']}: {runtime['why']}"
    else:
        picked = f"nothing: {runtime['problem']}"
    return [
        ("onnxruntime", f"{runtime['onnxruntime']}, {', '.join(runtime['providers'])}"),
        ("instruction sets", ", ".join(runtime["instruction_sets"]) or "unknown"),
        ("runs here", picked),
        *([("engine", runtime["runs_on"])] if runtime["runs_on"] is not None else []),
    ]


def _variant(variant: Variant, files: dict[str, str | None]) -> list[tuple[str, str]]:
    rows = [
        ("target", f"{variant.target} {variant.precision}, opset {variant.opset}"),
        ("files", _file_state(sum(file.bytes for file in variant.files), files, variant.name)),
    ]
    for name, value in [*_flat("settings", variant.settings), *_flat("fidelity", variant.fidelity)]:
        rows.append((name, f"{value:.4g}" if isinstance(value, float) else str(value)))
    return rows


def _flat(name: str, value: Any) -> list[tuple[str, Any]]:
    """Nested objects as one list of (dotted name, value)."""
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flat(f"{name}.{key}", inner)]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [(name, f"{len(value)} entries, in {FILE_NAME}")]
    return [(name, value)]


def _file_state(size: int, files: dict[str, str | None], name: str) -> str:
    from rich.filesize import decimal

    if name not in files:
        return f"{decimal(size)}, on the hub"
    return f"{decimal(size)}, {'intact' if files[name] is None else 'NOT INTACT'}"
