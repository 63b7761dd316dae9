"""spladert: SPLADE sparse encoders as one ONNX graph, token ids in, top-k (token id, weight) out."""

from .encoder import SparseEncoder
from .errors import BundleError, DependencyError, DeviceError, ExportError, InputError, SpladertError, StoreError
from .vectors import SparseVector, SparseVectors
from .version import __version__

__all__ = [
    "BundleError",
    "DependencyError",
    "DeviceError",
    "ExportError",
    "InputError",
    "SparseEncoder",
    "SparseVector",
    "SparseVectors",
    "SpladertError",
    "StoreError",
    "__version__",
]
