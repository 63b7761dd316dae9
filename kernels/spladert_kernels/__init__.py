"""Compiled int8 kernels for spladert, called through their C interface; see `spladert_kernels.abi`."""

from .abi import LIBRARY, load_library
from .version import __version__

__all__ = ["LIBRARY", "__version__", "load_library"]
