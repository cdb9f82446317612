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
_BATCH = "_batch"  # between the name of an option and the events in a request
MODEL = "model"  # what the time of a request to somebody else's model is booked under


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that puts S2 before S10."""
    return [(int(t), "") if t.isdigit() else (-1, t) for t in re.split(r"(\d+)", name) if t]


def option_order(options: Iterable[str]) -> list[str]:
    """The distinct option names in natural order: S0, S1, ..., S10."""
    return sorted(set(options), key=natural_key)


@dataclass(frozen=True)
class TheirModel:
    """A model that somebody else serves: it finds the tracks of an event in one request.

    Attributes:
        name, version: of the model; an empty version leaves it to the server.
        input, output: names of its tensors.
        features: columns of the input, see ``models.features.FEATURES``.
        scales: by what each of them is divided.
        columns: so many columns of the events' files are the input, in their place; 0 for none.
        datatype: of the input, as Triton calls it; the server says so.
        batched: whether the input has one more dimension in front; likewise.
    """

    name: str
    version: str
    input: str
    output: str
    features: tuple[str, ...]
    scales: tuple[float, ...]
    columns: int = 0
    datatype: str = "FP32"
    batched: bool = False

    @classmethod
    def from_config(cls, model: Mapping[str, Any]) -> TheirModel:
        """Reads the section ``server.model``."""
        made = (tuple(model[key]) for key in ("features", "scales"))
        names = (model["name"], str(model.get("version", "")), model["input"], model["output"])
        return cls(*names, *made, model.get("columns", 0))

    @property
    def width(self) -> int:
        """Number of columns of the input."""
        return self.columns or len(self.features)


@dataclass(frozen=True)
class Option:
    """A service option.

    Attributes:
        name: as in the configuration, e.g. ``S3``.
        mode: ``stages`` (one request per served stage), ``ensemble`` (one request, Triton chains
            the stages), ``fused`` (one request, one model holds the whole pipeline) or ``model``
            (one request to somebody else's model).
        served: the stages that run on the server, in pipeline order.
        model: the model of the mode ``model``.
        batch: events in a request.
        joined: whether the server has a dynamic batcher for the requests.
    """

    name: str
    mode: str
    served: tuple[str, ...]
    model: TheirModel | None = None
    batch: int = 1
    joined: bool = False

    @classmethod
    def from_config(
        cls, name: str, entry: Mapping[str, Any], server: Mapping[str, Any] | None = None
    ) -> Option:
        """Reads one entry of the ``options`` section, e.g. ``{serve: [gnn]}``; or of ``batches``.

        Args:
            name: its name.
            entry: the entry.
            server: its server, see ``server_settings.server_of``, which names the model of
                ``{serve: model}``.

        Raises:
            ValueError: ``serve`` names something else than stages, ``ensemble`` or ``fused``; or
                ``model``, and there is none.
        """
        serve, batch = entry["serve"], entry.get("batch", 1)
        if serve in ("ensemble", "fused"):
            joined = "dynamic_batching" in (server or {})
            return cls(name, serve, STAGES, batch=batch, joined=joined)
        if serve == MODEL and server and "model" in server:
            return cls(name, MODEL, STAGES, TheirModel.from_config(server["model"]))
        unknown = [stage for stage in serve if stage not in STAGES]
        if isinstance(serve, str) or unknown:
            raise ValueError(
                f"options.{name}.serve: {serve!r} found; expected a list of {', '.join(STAGES)}, "
                "or ensemble, or fused"
            )
        return cls(name, "stages", tuple(s for s in STAGES if s in serve), batch=batch)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the Triton models that the server must load."""
        if self.mode == "ensemble":
            return (*self.served, ENSEMBLE)
        if self.model:
            return (self.model.name,)
        return (FUSED,) if self.mode == "fused" else self.served

    @property
    def needs_server(self) -> bool:
        """Whether anything runs on a server."""
        return bool(self.served)


def batches(
    options: Mapping[str, Any], names: Iterable[str], sizes: Iterable[int]
) -> dict[str, Any]:
    """Options with several events in a request: an entry for each option and size.

    Args:
        options: the section of the configuration.
        names: of the options.
        sizes: events in a request.

    Returns:
        Entries with the key ``batch``, by names such as S4_batch8.
    """
    return {
        f"{name}{_BATCH}{size}": {**options[name], "batch": size}
        for name in names
        for size in sizes
    }


def option_of_batches(name: str) -> str:
    """The option that ``batches`` gave this name for, such as S4 of S4_batch8."""
    return name.rpartition(_BATCH)[0]


def left_out(options: Mapping[str, Any], server: Mapping[str, Any]) -> dict[str, str]:
    """The options that can't be measured where the server has one model, each with the reason.

    Args:
        options: the section of the configuration.
        server: likewise.
    """
    if "model" not in server:
        return {}
    found = {}
    for name, entry in options.items():
        serve = entry["serve"]
        if serve and serve != MODEL:
            needed = ", ".join(Option.from_config(name, entry).models)
            found[name] = (
                f"needs {needed} of our model repository; with server.model, here "
                f"{server['model']['name']}, only options with serve: {MODEL} are measured"
            )
    return found


def is_onnx(model: Mapping[str, Any] | None) -> bool:
    """Whether a network, an entry of ``pipeline.models``, is in ONNX; it needs Python."""
    return str((model or {}).get("file", "")).lower().endswith(".onnx")
