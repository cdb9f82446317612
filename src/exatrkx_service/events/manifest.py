"""Manifests: which events a generation job made, with the check sums of their files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from exatrkx_service.events.files import EVENT_FILES, event_file
from exatrkx_service.events.reader import EventFormatError


def write_manifest(path: Path, settings: dict[str, Any], events: Iterable[int]) -> None:
    """Writes the manifest of events that lie in its folder.

    Args:
        path: the manifest.
        settings: what the events were generated with.
        events: their numbers.
    """
    files = {
        str(event): {
            kind: hashlib.sha256(event_file(path.parent, event, kind).read_bytes()).hexdigest()
            for kind in EVENT_FILES
        }
        for event in events
    }
    path.write_text(json.dumps({"settings": settings, "events": files}, indent=1) + "\n")


def read_manifests(paths: Iterable[Path | str]) -> dict[int, Path]:
    """The events of a sample.

    Returns:
        The folder of each event by its number, in ascending order.

    Raises:
        EventFormatError: a manifest is damaged, or two have the same event.
    """
    found: dict[int, Path] = {}
    for path in map(Path, paths):
        try:
            events = [int(event) for event in json.loads(path.read_text())["events"]]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise EventFormatError(f"{path}: expected a manifest of events: {error!r}") from None
        for event in events:
            if event in found:
                raise EventFormatError(f"{path}: event {event} is in another manifest as well")
            found[event] = path.parent
    return dict(sorted(found.items()))
