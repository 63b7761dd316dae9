"""The export side of spladert: a checkpoint becomes a bundle.

It needs the extra `export`; the runtime never imports it. What needs PyTorch is imported when it is asked for: together
with transformers that takes seconds, which a module that needs neither (`normalize`, say) does not wait for.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from spladert.errors import DependencyError

_missing = [name for name in ("torch", "transformers", "onnx", "onnxscript") if find_spec(name) is None]
if _missing:
    raise DependencyError(f"exporting needs {', '.join(_missing)}: pip install 'spladert[cpu,export]'")

if TYPE_CHECKING:
    from .checkpoint import Support, supported
    from .pipeline import ExportReport, export
    from .quality.gate import Limits
    from .quality.verification import verify

__all__ = ["ExportReport", "Limits", "Support", "export", "supported", "verify"]

_HOMES = {
    "ExportReport": ".pipeline",
    "Limits": ".quality.gate",
    "Support": ".checkpoint",
    "export": ".pipeline",
    "supported": ".checkpoint",
    "verify": ".quality.verification",
}


if not TYPE_CHECKING:  # or mypy would take any name for one of these

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
