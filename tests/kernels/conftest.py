from __future__ import annotations

import pytest

from support.kernels import ISAS, Stages

# AMX and AVX-VNNI are also run as plain code, so that they are tested on CPUs without them; the other compiler's code
# with the instruction sets that most CPUs have.
VARIANTS = [
    *(("native", isa) for isa in ISAS),
    *(("emulated", isa) for isa in ("amx", "avx-vnni")),
    *(("clang", isa) for isa in ("avx512-vnni", "avx2")),
]


@pytest.fixture(scope="session", params=VARIANTS, ids="-".join)
def stages(request: pytest.FixtureRequest) -> Stages:
    """The library's stages with each instruction set; skips those that this CPU cannot run."""
    return Stages(*request.param)
