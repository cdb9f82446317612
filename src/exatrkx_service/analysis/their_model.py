"""What the report says of a model that somebody else serves."""

from __future__ import annotations

from typing import Any

import pandas as pd

from exatrkx_service.analysis.cells import clients
from exatrkx_service.options import MODEL, left_out


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
    return [
        {
            "name": "Tracks of theirs",
            "state": "ok",
            "text": f"{', '.join(theirs)}: {server['model']['name']} is somebody else's model, "
            "which may find other tracks. As a whole the same as those of the pipeline were:",
            "details": [
                f"{row.option} with {clients(row.concurrency)}: "
                + ("-" if pd.isna(row.same_tracks) else f"{row.same_tracks:.0%} of the events")
                for row in rows.itertuples()
            ],
        },
        {
            "name": "Left out",
            "state": "warning" if skipped else "ok",
            "text": "Options that were not measured:" if skipped else "No option was left out.",
            "details": [f"{name}: {reason}" for name, reason in skipped.items()],
        },
    ]
