"""What the package offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="needs the export extra: pip install 'spladert[export]'")

import spladert_export


@pytest.mark.parametrize("name", spladert_export.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(spladert_export, name).__name__ == name
    assert name in dir(spladert_export)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"^module 'spladert_export' has no attribute 'nothing'$"):
        spladert_export.nothing  # noqa: B018


def test_what_needs_no_pytorch_does_not_wait_for_it() -> None:
    code = "import sys, spladert_export.normalize, spladert_export.package.triton; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
