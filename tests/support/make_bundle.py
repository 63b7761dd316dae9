"""Makes the checkpoint and the bundle of the tests at a place of one's own, for a run of them without PyTorch.

PYTHONPATH=tests python -m support.make_bundle FOLDER
SPLADERT_TINY_BUNDLE=FOLDER/bundle pytest tests/runtime
"""

from __future__ import annotations

import sys
from pathlib import Path

from spladert_export import export

from .checkpoints import make_checkpoint

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    export(make_checkpoint("modernbert", folder / "checkpoint"), folder / "bundle", top_k=64)
