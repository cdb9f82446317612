"""Does the card of a set of networks speak of the cuts that the configuration has?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CARD = "model_card.json"


def card_warning(weights: Path, pipeline: Mapping[str, Any]) -> str | None:
    """Compares the working point of a model card with the configuration.

    Args:
        weights: folder of the networks; the card lies beside them, where there is one.
        pipeline: the ``pipeline`` section of the configuration.

    Returns:
        One line where they differ or the card can't be read, else None. It is no error: the
        networks can be used at other cuts, but the card's numbers do not hold there.
    """
    path = Path(weights) / CARD
    # It is about the networks of its folder together.
    if not path.is_file() or pipeline.keys() & {"models", "geometric"}:
        return None
    try:
        point = dict(json.loads(path.read_text())["working_point"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        return f"{path}: expected a model card with the key working_point: {error!r}"
    differences = [
        f"{key} {value} (pipeline.{key}: {pipeline[key]})"
        for key, value in point.items()
        if key in pipeline and pipeline[key] != value
    ]
    if not differences:
        return None
    return f"{path}: measured at other cuts, its numbers do not hold: {', '.join(differences)}"
