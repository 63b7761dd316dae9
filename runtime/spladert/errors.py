"""The errors spladert raises on purpose. Each says what is wrong and what to do about it."""

from __future__ import annotations


class SpladertError(Exception):
    """Base of every error raised on purpose; catching it catches them all."""


class InputError(SpladertError, ValueError):
    """A text, a record or an argument that cannot be taken."""


class BundleError(SpladertError, ValueError):
    """A bundle that is missing, incomplete, altered, or made for a newer version."""


class DeviceError(SpladertError, RuntimeError):
    """A device or execution provider that was asked for and cannot be used here."""


class DependencyError(SpladertError, ImportError):
    """A package that an optional part needs and that is not installed; the message names the extra."""


class ExportError(SpladertError, ValueError):
    """A checkpoint that cannot be exported, or a graph that failed its own check."""


class StoreError(SpladertError, RuntimeError):
    """A store of vectors that refuses a request, or does not answer."""
