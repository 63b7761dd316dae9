"""The comparison as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from spladert.bench.tables import milliseconds

from .workload import shapes_of

Figures = Mapping[str, Any]


def report(content: Mapping[str, Any]) -> str:
    """All tables: latency, tail, throughput, memory and start, floors, and what did not run."""
    engines: Mapping[str, Figures] = content["engines"]
    settings, machine = content["settings"], content["machine"]
    held = settings.get("held_to")  # results of an earlier version have none
    parts = [
        f"{machine['cpu']} (family {machine['family']}, model {machine['model']}), {machine['cores']} cores, "
        f"{settings['threads']} threads; instruction sets {', '.join(machine['flags']) or 'unknown'}"
        f"{f', held to {held} by masking CPUID' if held else ''}; "
        f"{machine['system']}. {settings['architecture']}, {settings['parameters']:,} parameters, at most "
        f"{settings['max_length']} tokens, top {settings['top_k']}; {content['rounds']} rounds."
    ]
    if any(one["shapes"] for one in engines.values()):
        shapes = [str(shape) for shape in shapes_of(name for one in engines.values() for name in one["shapes"])]
        first = next(one["shapes"] for one in engines.values() if one["shapes"])
        parts += [
            "Median latency, ms, from texts to vectors (texts x tokens); in brackets, times faster than the first row.",
            _table(engines, shapes, lambda one, shape: _latency(one, first, shape)),
            "99th percentile, ms, and how many samples; with fewer than 100 the largest, marked with <=.",
            _table(engines, shapes, _tail),
        ]
        if content["floors"]:
            parts += [
                "Distance to the floor: median over the least time that this machine needs for the weights' bytes or "
                "the operations at that precision, whichever is larger.",
                _table(
                    engines,
                    shapes,
                    lambda one, shape: _number(one["shapes"].get(shape, {}).get("over_floor"), "{:.1f}"),
                ),
            ]
    parts += [
        f"The mix: {settings['mix_texts']:,} texts as they come, tokenizing included. Peak memory is the process's "
        "largest resident set: over all shapes, and over the mix. Cold start is from the process's start to its first "
        "vector, files in the page cache.",
        _table(engines, list(WHOLE), lambda one, column: WHOLE[column](one)),
    ]
    if content["agreement"]:
        first = next(iter(content["agreement"]))
        parts += [
            f"Agreement with {first}: the ten heaviest ids of texts of 8 to 64 tokens, and the largest difference of "
            "their weights.",
            _agreement(content["agreement"]),
        ]
    if content["floors"]:
        floors = content["floors"]
        parts.append(
            f"Floors, {floors['threads']} threads: memory {floors['memory_gb_s']:.1f} GB/s, fp32 "
            f"{floors['fp32_gflop_s']:.0f} GFLOP/s, bf16 {_number(floors['bf16_gflop_s'], '{:.0f}', 'not on this CPU')}"
            f"{' GFLOP/s' if floors['bf16_gflop_s'] else ''}, int8 {floors['int8_gop_s']:.0f} GOP/s."
        )
    if content.get("warnings"):  # results of an earlier version have none
        parts.append("Disturbed:\n" + "\n".join(f"- {what}" for what in content["warnings"]))
    if content["not_run"]:
        parts.append("Not run:\n" + "\n".join(f"- {name}: {why}" for name, why in content["not_run"].items()))
    versions = {package: version for one in content["versions"].values() for package, version in one.items()}
    parts.append(
        "Versions: " + ", ".join(f"{package} {version}" for package, version in sorted(versions.items())) + "."
    )
    return "\n\n".join(parts) + "\n"


WHOLE: dict[str, Callable[[Figures], str]] = {
    "mix, texts/s": lambda one: _number(one.get("mix_texts_per_s"), "{:.1f}"),
    "peak MB, mix": lambda one: _number(one.get("mix_peak_mb"), "{:.0f}"),
    "peak MB, shapes": lambda one: _number(one.get("peak_mb"), "{:.0f}"),
    "cold start, s": lambda one: _number(one.get("cold_start_s"), "{:.2f}"),
}


def _latency(one: Figures, first: Figures, shape: str) -> str:
    if shape not in one["shapes"]:
        return ""
    taken = one["shapes"][shape]["p50_ms"]
    ratio = f" ({first[shape]['p50_ms'] / taken:.1f}x)" if shape in first else ""
    return f"{milliseconds(taken)}{ratio}"


def _tail(one: Figures, shape: str) -> str:
    if shape not in one["shapes"]:
        return ""
    figures = one["shapes"][shape]
    if figures["p99_ms"] is None:
        return f"<= {milliseconds(figures['max_ms'])} ({figures['samples']})"
    return f"{milliseconds(figures['p99_ms'])} ({figures['samples']})"


def _table(engines: Mapping[str, Figures], columns: Sequence[str], cell: Callable[[Figures, str], str]) -> str:
    lines = [f"| engine | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name, one in engines.items():
        lines.append(f"| {name} | {' | '.join(cell(one, column) for column in columns)} |")
    return "\n".join(lines)


def _agreement(found: Mapping[str, Figures]) -> str:
    lines = ["| engine | same ids | largest difference |", "|---|---|---|"]
    lines += [f"| {name} | {one['overlap']:.1%} | {one['weight_error']:.1e} |" for name, one in found.items()]
    return "\n".join(lines)


def _number(value: float | None, form: str, missing: str = "") -> str:
    return missing if value is None else form.format(value)
