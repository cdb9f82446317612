"""The model card: what the weights are, how they were made and how well they do.

Every number comes from the headers of the weights files or from a measurement that is handed in.
Sections follow Mitchell et al., Model Cards for Model Reporting, arXiv:1810.03993.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exatrkx_service.models.networks import NETWORKS
from exatrkx_service.models.weights import load_network, read_metadata
from exatrkx_service.pipeline.labeling import CUT_KEYS


def intended_use(training: Mapping[str, Any]) -> str:
    """What networks are for, by the settings of the sample that they were trained on."""
    if "path" in training:  # events from elsewhere
        return (
            "Benchmarks of track finding as a service on events such as those of the training "
            "sample. Not for another detector, or other collisions."
        )
    return (
        "Benchmarks of track finding as a service on simulated heavy-neutral-lepton events in the "
        "ACTS generic detector, without pile-up. Not for real data, another detector, or pile-up."
    )


def describe_data(
    training: Mapping[str, Any], evaluation: Mapping[str, Any], provenance: Mapping[str, Any]
) -> dict[str, str]:
    """The card's lines about the samples and the machine.

    Args:
        training: settings of the training sample: the ``events`` section of the configuration,
            with its seed and size, or the ``train`` section where the events are from elsewhere.
        evaluation: those of the sample that the performance was measured on.
        provenance: see ``measure.provenance.collect``.
    """
    machine, software = provenance["machine"], provenance["software"]
    return {
        "training sample": _sample(training),
        "evaluation sample": f"{_sample(evaluation)}; the networks did not learn from it",
        "trained and measured with": f"torch {software['torch']}, {machine['cpu']}, "
        f"{machine['gpu'] or 'no GPU'}",
    }


def _sample(settings: Mapping[str, Any]) -> str:
    if "path" in settings:  # events from elsewhere
        after = f" after the first {skip}" if (skip := settings.get("skip")) else ""
        return f"{settings['n_events']} events of {settings['path']} ({settings['source']}){after}"
    hnl = settings["hnl"]
    process = {"hnl": f"HNL (mass {hnl['mass_gev']} GeV, ctau {hnl['ctau_mm']} mm)"}
    return (
        f"{settings['n_events']} {process.get(settings['process'], settings['process'])} events "
        f"at {settings['sqrt_s_gev'] / 1000:g} TeV, pile-up {settings['pileup']}, "
        f"seed {settings['seed']}"
    )


def write_card(
    weights_dir: Path,
    intended_use: str,
    data: dict[str, Any],
    pipeline: dict[str, Any],
    performance: dict[str, dict[str, float | None]],
    stage_ms: dict[str, float],
    *,
    definitions: str,
    confidence_level: float,
) -> None:
    """Writes ``model_card.json`` and ``MODEL_CARD.md`` beside the weights.

    Args:
        weights_dir: folder with the three weights files.
        intended_use: see the function of this name.
        data: what the networks were trained and evaluated on; keys become lines of the card.
        pipeline: holds the working point: ``radius``, ``k_max``, ``filter_cut``, ``labeling`` and
            its cut.
        performance: from ``analysis.physics.tracking_performance`` on an independent sample.
        stage_ms: mean wall time of each stage per event [ms].
        definitions: what the numbers in ``performance`` mean.
        confidence_level: of their intervals.

    Raises:
        WeightsError: a weights file cannot be used.
    """
    weights_dir = Path(weights_dir)
    networks = {}
    for stage in NETWORKS:
        path = weights_dir / f"{stage}.safetensors"
        n_parameters = sum(p.numel() for p in load_network(path, stage).parameters())
        networks[stage] = read_metadata(path, stage) | {"n_parameters": n_parameters}
    point = ("radius", "k_max", "filter_cut", "labeling", CUT_KEYS[pipeline["labeling"]])
    card = {
        "intended_use": intended_use,
        "definitions": definitions,
        "data": data,
        "working_point": {key: pipeline[key] for key in point},
        "networks": networks,
        "confidence_level": confidence_level,
        "performance": performance,
        "stage_ms": stage_ms,
    }
    text = json.dumps(card, indent=1, allow_nan=False) + "\n"
    (weights_dir / "model_card.json").write_text(text)
    (weights_dir / "MODEL_CARD.md").write_text(_markdown(card))


def _markdown(card: dict[str, Any]) -> str:
    lines = ["# Model card: Exa.TrkX networks", "", card["intended_use"], "", "## Data", ""]
    lines += [f"- {key}: {value}" for key, value in card["data"].items()]
    lines += ["", "## Working point", ""]
    lines += [f"- {key}: {_text(value)}" for key, value in card["working_point"].items()]
    lines += ["", "## Networks", ""]
    for stage, network in card["networks"].items():
        lines += [f"### {stage}: {network['n_parameters']:,} parameters", ""]
        for part in ("architecture", "recipe", "metrics"):
            pairs = (f"{k} {_text(v)}" for k, v in network[part].items() if k != "architecture")
            title = part if part != "metrics" else "metrics on the validation events"
            lines.append(f"- {title}: {', '.join(pairs)}")
        lines.append("")
    lines += ["## Performance", "", card["definitions"], ""]
    interval = f"{100 * card['confidence_level']:g} % interval"
    lines += [f"| quantity | value | {interval} | counts |", "|---|---|---|---|"]
    for name, ratio in card["performance"].items():
        counts = f"{ratio['passed']} of {ratio['total']}"
        if ratio["value"] is None:
            lines.append(f"| {name} | – | – | {counts} |")
        else:
            bounds = f"{ratio['low']:.4f} to {ratio['high']:.4f}"
            lines.append(f"| {name} | {ratio['value']:.4f} | {bounds} | {counts} |")
    lines += ["", "## Time per event", "", "| stage | mean [ms] |", "|---|---|"]
    lines += [f"| {stage} | {ms:.2f} |" for stage, ms in card["stage_ms"].items()]
    return "\n".join([*lines, f"| all | {sum(card['stage_ms'].values()):.2f} |", ""])


def _text(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
