"""What every variant of a bundle is made of, and what it is while it is made."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import onnx_ir as ir

from spladert.bundle import Manifest

from .calibration import Observed, observe
from .graph.roles import value_roles
from .quantize.sites import find_sites

T = TypeVar("T")


@dataclass(frozen=True)
class Draft:
    """A graph that may become a variant, and what the manifest records of how it was made."""

    graph: ir.Model
    settings: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How a variant is made.

    Attributes:
        build: makes its graph; the layers with the given roles stay as precise as they are.
        fallback_order: roles of the layers to leave precise where the variant loses too much, the first one first.
    """

    build: Callable[[Sequence[str]], Draft]
    fallback_order: tuple[str, ...] = ()


@dataclass(frozen=True)
class Material:
    """The fp32 graph with all that variants take from it, each computed once.

    Attributes:
        folder: the bundle that is being made; the graph's data is in it once the fp32 variant is written.
        manifest: the bundle's, still without variants.
        fp32: the graph; to be cloned, never changed.
        rewrites: what the passes changed in it.
        token_ids: of the calibration texts.
    """

    folder: Path
    manifest: Manifest
    fp32: ir.Model
    rewrites: dict[str, int]
    token_ids: Sequence[Sequence[int]]
    _computed: dict[Hashable, object] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def observed(self) -> dict[str, Observed]:
        """What calibration shows of each site's activation, by the site's role."""
        sites = find_sites(self.fp32)
        found = observe(self.fp32, [site.activation for site in sites], self.folder, self.token_ids)
        return {site.role: seen for site, seen in zip(sites, found, strict=True)}

    @cached_property
    def roles(self) -> dict[str, str]:
        """The role of each value, by its name."""
        return value_roles(self.fp32.graph)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What several variants need, computed by the first that asks for it."""
        if key not in self._computed:
            self._computed[key] = compute()
        return cast("T", self._computed[key])
