"""Events from elsewhere: one file per format, each behind ``base.Format``.

The next one is a file here, with a line in ``FORMATS`` and its name in the schema of the
configuration (``events.source``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exatrkx_service.events.formats.acts import Acts
from exatrkx_service.events.formats.base import Format
from exatrkx_service.events.formats.colliderml import ColliderML
from exatrkx_service.events.formats.features import Features
from exatrkx_service.events.formats.trackml import TrackML

FORMATS: dict[str, type[Format]] = {
    "acts": Acts,
    "colliderml": ColliderML,
    "features": Features,
    "trackml": TrackML,
}


def open_events(settings: Mapping[str, Any]) -> Format:
    """The events that the section ``events`` of a configuration names.

    Args:
        settings: the section; ``source`` is not ``generate``.
    """
    source = settings["source"]
    return FORMATS[source](Path(settings["path"]).expanduser(), settings.get(source, {}))
