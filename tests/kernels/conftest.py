from __future__ import annotations

import pytest

from support.kernels import ISAS, Stages

# On x86-64, AMX and AVX-VNNI are also run as plain code, so that they are tested on CPUs without them; the other
# compiler's code with the instruction sets that most CPUs have.
VARIANTS = [
    *(("native", isa) for isa in ISAS),
    *(("emulated", isa) for isa in ("amx", "avx-vnni") if isa in ISAS),
    *(("clang", isa) for isa in ("avx512-vnni", "avx2") if isa in ISAS),
]


@pytest.fixture(scope="session", params=VARIANTS, ids="-".join)
def stages(request: pytest.FixtureRequest) -> Stages:
    """The library's stages with each instruction set; skips those that this CPU cannot run."""
    return Stages(*request.param)
