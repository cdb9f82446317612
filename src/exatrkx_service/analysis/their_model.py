"""What the report says of a model that somebody else serves."""

from __future__ import annotations

from typing import Any

import pandas as pd

from exatrkx_service.analysis.cells import INVALID, clients
from exatrkx_service.options import MODEL, left_out

FEW_SAME = 0.5  # a share of events with the same tracks below which the input may not fit


def their_checks(summary: pd.DataFrame, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the report, see ``report.validity``; none without such a model.

    Args:
        summary: see ``summary.summarise``.
        config: the configuration of the benchmark, as validated.
    """
    server = config["server"]
    if "model" not in server:
        return []
    theirs = [name for name, option in config["options"].items() if option["serve"] == MODEL]
    rows = summary[summary.option.isin(theirs)]
    skipped = left_out(config["options"], server)
    few = bool((rows.same_tracks < FEW_SAME).any())
    text = (
        f"{', '.join(theirs)}: {server['model']['name']} is somebody else's model, which may find "
        "other tracks. As a whole the same as those of the pipeline were:"
    )
    hint = (
        "Few are the same. Where the model should find those of the pipeline, its input may not be "
        "what it was trained on: see server.model.features and server.model.scales."
    )
    return [
        {
            "name": "Tracks of theirs",
            "state": "warning" if few else "ok",
            "text": text,
            "details": [
                f"{row.option} with {clients(row.concurrency)}: "
                + ("-" if pd.isna(row.same_tracks) else f"{row.same_tracks:.0%} of the events")
                for row in rows.itertuples()
            ]
            + [hint] * few,
        },
        {
            "name": "Left out",
            "state": "warning" if skipped else "ok",
            "text": "Options that were not measured:" if skipped else "No option was left out.",
            "details": [f"{name}: {reason}" for name, reason in skipped.items()],
        },
    ]


def with_other_tracks(summary: pd.DataFrame) -> list[str]:
    """The options with numbers that gave other tracks than the pipeline to some event."""
    rows = summary[(summary.verdict != INVALID) & ~summary.tracks_identical.astype(bool)]
    return list(dict.fromkeys(rows.option))
