"""The export side of spladert: a checkpoint becomes a bundle.

It needs the extra `export`; the runtime never imports it.
"""

from importlib.util import find_spec

from spladert.errors import DependencyError

_missing = [name for name in ("torch", "transformers", "onnx", "onnxscript") if find_spec(name) is None]
if _missing:
    raise DependencyError(f"exporting needs {', '.join(_missing)}: pip install 'spladert[cpu,export]'")

from .checkpoint import Support, supported  # noqa: E402
from .pipeline import ExportReport, export  # noqa: E402
from .quality.gate import Limits  # noqa: E402
from .quality.verification import verify  # noqa: E402

__all__ = ["ExportReport", "Limits", "Support", "export", "supported", "verify"]
