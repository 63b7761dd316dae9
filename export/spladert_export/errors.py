"""Errors of the export side."""

from __future__ import annotations

from spladert import ExportError


class VariantRefusedError(ExportError):
    """One variant cannot be made or loses too much; the others of the bundle are not touched by it."""
