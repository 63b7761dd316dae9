"""The comparison's three plots, as SVG: `draw(content, folder)`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spladert.bench.plot import matplotlib_module

from .workload import BATCHES, LENGTHS, Shape

FLOOR_SHAPES = (Shape(1, 8), Shape(32, 64))


def draw(content: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write latency.svg, throughput.svg and floor.svg, those that there are figures for; gives their paths."""
    matplotlib_module()
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"latency": _latency(content), "throughput": _throughput(content), "floor": _floor(content)}
    written = []
    for name, figure in figures.items():
        if figure is not None:
            written.append(folder / f"{name}.svg")
            figure.savefig(written[-1], bbox_inches="tight", metadata={"Date": None})
    return written


def _styles(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """spladert in thick warm lines, the others in thin cool ones; a marker an engine."""
    import matplotlib

    ours = [name for name in content["engines"] if name.startswith("spladert")]
    others = [name for name in content["engines"] if name not in ours]
    warm, cool = matplotlib.colormaps["autumn"], matplotlib.colormaps["viridis"]
    markers = "osv^<>PXD*hd"
    styles = {}
    for i, name in enumerate(others):
        styles[name] = {"color": cool(i / max(len(others), 2)), "marker": markers[i % 12], "linewidth": 1}
    for i, name in enumerate(ours):
        styles[name] = {"color": warm(i * 0.6 / max(len(ours), 1)), "marker": markers[i % 12], "linewidth": 2.5}
    return styles


def _latency(content: Mapping[str, Any]) -> Any:
    from matplotlib.figure import Figure

    styles = _styles(content)
    if not any(one["shapes"] for one in content["engines"].values()):
        return None
    figure = Figure(figsize=(11, 4.2))
    for i, (axes, batch) in enumerate(zip(figure.subplots(1, len(BATCHES)), BATCHES, strict=True)):
        for name, one in content["engines"].items():
            points = [(n, one["shapes"].get(str(Shape(batch, n)), {}).get("p50_ms")) for n in LENGTHS]
            points = [(n, ms) for n, ms in points if ms is not None]
            axes.plot(*zip(*points, strict=True) if points else ([], []), label=name, markersize=4, **styles[name])
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(LENGTHS, [str(n) for n in LENGTHS])
        axes.set_xlabel("tokens of a text")
        axes.set_title(f"batch of {batch}" if batch > 1 else "one text")
        if i == 0:
            axes.set_ylabel("median latency, ms")
            figure.legend(*axes.get_legend_handles_labels(), loc="upper center", ncols=4, bbox_to_anchor=(0.5, 0.0))
    return figure


def _throughput(content: Mapping[str, Any]) -> Any:
    from matplotlib.figure import Figure

    styles = _styles(content)
    points = {name: one for name, one in content["engines"].items() if "mix_texts_per_s" in one}
    if not points:
        return None
    figure = Figure(figsize=(7, 4.2))
    axes = figure.subplots()
    for name, one in points.items():
        style = {**styles[name], "linestyle": "none", "markersize": 9}
        axes.plot(one["mix_peak_mb"], one["mix_texts_per_s"], label=name, **style)
    axes.set_xlabel("peak memory, MB (left is better)")
    axes.set_ylabel("texts a second (higher is better)")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_title(f"{content['settings']['mix_texts']:,} Korean sentences, tokenizing included")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _floor(content: Mapping[str, Any]) -> Any:
    from matplotlib.figure import Figure

    styles = _styles(content)
    shapes = [str(shape) for shape in FLOOR_SHAPES]
    rows = {
        name: [one["shapes"].get(shape, {}).get("over_floor") for shape in shapes]
        for name, one in content["engines"].items()
    }
    rows = {name: values for name, values in rows.items() if any(values)}
    if not rows:
        return None
    figure = Figure(figsize=(9, 3.8))
    for i, (axes, shape) in enumerate(zip(figure.subplots(1, len(shapes), sharey=True), shapes, strict=True)):
        names = list(rows)[::-1]
        values = [rows[name][i] or 0 for name in names]
        bars = axes.barh(names, values, color=[styles[name]["color"] for name in names])
        axes.bar_label(bars, [f"{value:.1f}" if value else "" for value in values], padding=2)
        axes.axvline(1, color="black", linewidth=1)
        axes.set_title(f"{shape} tokens")
        axes.set_xlabel("times the machine's floor at that precision")
    figure.tight_layout()
    return figure
