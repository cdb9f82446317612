"""Service options: which stages of the pipeline run on the server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

STAGES = ("embedding", "building", "filtering", "gnn", "labeling")
NETWORKS = ("embedding", "filtering", "gnn")  # the stages with trained weights
ENSEMBLE = "exatrkx"
FUSED = "pipeline"
NULL = "null_model"  # computes nothing; in a CSV file `null` would be read as no value


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that puts S2 before S10."""
    return [(int(t), "") if t.isdigit() else (-1, t) for t in re.split(r"(\d+)", name) if t]


def option_order(options: Iterable[str]) -> list[str]:
    """The distinct option names in natural order: S0, S1, ..., S10."""
    return sorted(set(options), key=natural_key)


@dataclass(frozen=True)
class Option:
    """A service option.

    Attributes:
        name: as in the configuration, e.g. ``S3``.
        mode: ``stages`` (one request per served stage), ``ensemble`` (one request, Triton chains
            the stages) or ``fused`` (one request, one model holds the whole pipeline).
        served: the stages that run on the server, in pipeline order.
    """

    name: str
    mode: str
    served: tuple[str, ...]

    @classmethod
    def from_config(cls, name: str, entry: Mapping[str, Any]) -> Option:
        """Reads one entry of the ``options`` section, e.g. ``{serve: [gnn]}``.

        Raises:
            ValueError: ``serve`` names something else than stages, ``ensemble`` or ``fused``.
        """
        serve = entry["serve"]
        if serve in ("ensemble", "fused"):
            return cls(name, serve, STAGES)
        unknown = [stage for stage in serve if stage not in STAGES]
        if isinstance(serve, str) or unknown:
            raise ValueError(
                f"options.{name}.serve: {serve!r} found; expected a list of {', '.join(STAGES)}, "
                "or ensemble, or fused"
            )
        return cls(name, "stages", tuple(stage for stage in STAGES if stage in serve))

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the Triton models that the server must load."""
        if self.mode == "ensemble":
            return (*self.served, ENSEMBLE)
        return (FUSED,) if self.mode == "fused" else self.served

    @property
    def needs_server(self) -> bool:
        """Whether anything runs on a server."""
        return bool(self.served)
