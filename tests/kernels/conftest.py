from __future__ import annotations

import pytest

from support.kernels import ISAS, Stages

# AMX and AVX-VNNI are also run as plain code, so that they are tested on CPUs without them.
VARIANTS = [*(("native", isa) for isa in ISAS), ("emulated", "amx"), ("emulated", "avx-vnni")]


@pytest.fixture(scope="session", params=VARIANTS, ids="-".join)
def stages(request: pytest.FixtureRequest) -> Stages:
    """The library's stages with each instruction set; skips those that this CPU cannot run."""
    return Stages(*request.param)
