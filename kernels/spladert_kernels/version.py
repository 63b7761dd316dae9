"""The version, the same as spladert's."""

__version__ = "0.1.0"
