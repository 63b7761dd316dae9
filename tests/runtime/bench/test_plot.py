from __future__ import annotations

from pathlib import Path

import pytest

from spladert import InputError
from support.reports import REPORT

pytest.importorskip("matplotlib", reason="needs the bench extra: pip install 'spladert[bench]'")

from spladert.bench.plot import check_plot, plot


def test_a_plot_names_what_it_shows_and_is_reproducible(tmp_path: Path) -> None:
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    plot(REPORT, first)
    plot(REPORT, second)
    text = first.read_text(encoding="utf-8")
    assert second.read_text(encoding="utf-8") == text
    for part in ("a-model", "cpu-int8", "2 threads", "spladert 0.1.0", "other processes", "latency", "1,100"):
        assert part in text  # matplotlib writes each text into a comment beside its outlines


def test_other_formats(tmp_path: Path) -> None:
    plot(REPORT, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "message"), [("a.txt", "its ending must be one of .*png"), ("none/a.svg", "there is no folder")]
)
def test_a_file_that_cannot_be_plotted_to_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        check_plot(tmp_path / name)
