"""SmoothQuant: what it is worth, and that folding its factors changes nothing that is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from support.checkpoints import ARCHITECTURES, with_outliers

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")
ir = pytest.importorskip("onnx_ir", reason="needs the export extra: pip install 'spladert[export]'")

from spladert_export.calibration import Observed, observe  # noqa: E402
from spladert_export.checkpoint import load_checkpoint  # noqa: E402
from spladert_export.graph.passes import optimize  # noqa: E402
from spladert_export.graph.trace import trace  # noqa: E402
from spladert_export.graph.writer import write_graph  # noqa: E402
from spladert_export.quantize.int8 import GRID  # noqa: E402
from spladert_export.quantize.schemes import alphas_for  # noqa: E402
from spladert_export.quantize.search import choose  # noqa: E402
from spladert_export.quantize.sites import Site, find_sites  # noqa: E402
from spladert_export.quantize.smooth import divide, find_fold, smoothing_factors  # noqa: E402
from support.gpu_graphs import padded_batch, rewritten, run  # noqa: E402


def test_factors_follow_the_paper() -> None:
    high = np.array([1.0, 4.0], np.float32)
    observed = Observed(low=-high, high=high, rows=np.zeros((1, 2), np.float32))
    factors = smoothing_factors(observed, np.array([2.0, 2.0], np.float32), 0.5)
    assert factors[1] / factors[0] == pytest.approx(2.0)  # sqrt(4 / 1)
    assert factors.prod() == pytest.approx(1.0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_smoothing_changes_nothing_that_is_computed(
    architecture: str, bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    """Folded factors of very different sizes leave the fp32 graph's vectors as they were."""
    graph = bundle_of(architecture) / "cpu-fp32.onnx"
    folded = []

    def fold_all(model: ir.Model) -> None:
        for site in find_sites(model):
            fold = find_fold(site)
            if fold is not None:
                factors = np.geomspace(0.2, 5.0, site.linears[0].weight.shape[0], dtype=np.float32)
                divide(model.graph, fold, site, factors)
                folded.append(site.role)

    smoothed = rewritten(graph, tmp_path / "smoothed.onnx", fold_all)
    assert len(folded) >= (8 if architecture == "modernbert" else 3)
    batch = padded_batch(32)
    expected = run(graph, *batch)
    assert (expected > 0).sum() > 50
    np.testing.assert_allclose(run(smoothed, *batch), expected, atol=1e-4)


def observed_sites(checkpoint: Path, folder: Path) -> list[tuple[Site, Observed]]:
    """The sites of a checkpoint's graph and what some ids show of them."""
    folder.mkdir()
    graph = trace(load_checkpoint(str(checkpoint)).model, max_length=64, top_k=64)
    optimize(graph)
    write_graph(graph, folder / "graph.onnx")
    sites = find_sites(graph)
    rows = np.random.default_rng(0).integers(5, 100, (8, 30)).tolist()
    return list(zip(sites, observe(graph, [site.activation for site in sites], folder, rows), strict=True))


def test_outlier_channels_cost_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Smoothing brings the layers' error back to what it is without outliers; without it, it is far larger."""

    def worst(sites: Sequence[tuple[Site, Observed]], *, smooth: bool) -> float:
        found = [choose(site, seen, GRID, alphas=alphas_for(site) if smooth else (None,))[0] for site, seen in sites]
        return max(choice.error for choice in found)

    plain = observed_sites(tiny_checkpoint, tmp_path / "plain")
    loud = observed_sites(with_outliers(tiny_checkpoint, tmp_path / "checkpoint"), tmp_path / "loud")
    smoothed = worst(loud, smooth=True)
    assert smoothed < 1.2 * worst(plain, smooth=True)
    assert worst(loud, smooth=False) > 5 * smoothed
