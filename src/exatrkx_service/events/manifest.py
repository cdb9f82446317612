"""Manifests: which events a job made or took in, with the check sums of their files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exatrkx_service.events.event import PointsWithColumns
from exatrkx_service.events.files import EVENT_FILES, IMPORTED_FILES, event_file
from exatrkx_service.events.imported import imported_with_columns
from exatrkx_service.events.reader import read_space_points
from exatrkx_service.events.tables import EventFormatError
from exatrkx_service.identity import file_sha256
from exatrkx_service.machine import version

GENERATORS = {"pythia8mc": "pythia8mc", "pyacts": "acts"}
# The files of an event: generated; from elsewhere with its truth; and without.
_KINDS = (EVENT_FILES, IMPORTED_FILES, IMPORTED_FILES[-1:])


def write_manifest(
    path: Path,
    settings: dict[str, Any],
    events: Iterable[int],
    code_sha256: str,
    kinds: Sequence[str] = EVENT_FILES,
) -> None:
    """Writes the manifest of events that lie in its folder.

    Args:
        path: the manifest.
        settings: what the events were made with; JSON.
        events: their numbers.
        code_sha256: digest of the code that made them.
        kinds: the files of each event.
    """
    files = {
        str(event): {kind: file_sha256(event_file(path.parent, event, kind)) for kind in kinds}
        for event in events
    }
    # Generated ones depend on these versions as well.
    generators = GENERATORS if kinds == EVENT_FILES else {}
    software = {name: version(name, module) for name, module in generators.items()}
    content = {"settings": settings, "code_sha256": code_sha256, "software": software}
    path.write_text(json.dumps(content | {"events": files}, indent=1) + "\n")


def check_settings(paths: Iterable[Path | str], settings: dict[str, Any]) -> None:
    """Checks that events are those that the configuration asks for.

    Args:
        paths: their manifests.
        settings: what they must have been made with.

    Raises:
        EventFormatError: they were made with others; names the manifest and the key.
    """
    for path in map(Path, paths):
        found = json.loads(path.read_text())["settings"]
        for key, value in settings.items():
            if found.get(key) != value:
                raise EventFormatError(
                    f"{path}: events.{key}: made with {found.get(key)}, expected {value}, "
                    "that of the configuration; delete it and run again"
                )


def read_manifests(paths: Iterable[Path | str]) -> dict[int, Path]:
    """The events of a sample, after verifying that their files are those of the manifests.

    Returns:
        The folder of each event by its number, in ascending order.

    Raises:
        EventFormatError: a manifest is damaged, two have the same event, or a file of an event is
            missing or has changed.
    """
    found: dict[int, Path] = {}
    for path in map(Path, paths):
        try:
            files = json.loads(path.read_text())["events"]
            events = {
                int(event): {kind: sums[kind] for kind in _kinds(sums)}
                for event, sums in files.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise EventFormatError(f"{path}: expected a manifest of events: {error!r}") from None
        for event, sums in events.items():
            if event in found:
                raise EventFormatError(f"{path}: event {event} is in another manifest as well")
            found[event] = path.parent
            for kind, expected in sums.items():
                _verify(event_file(path.parent, event, kind), expected, path)
    return dict(sorted(found.items()))


def read_sample(
    paths: Iterable[Path | str], columns: bool = False
) -> dict[int, np.ndarray | PointsWithColumns]:
    """The space points of each event of a sample, see ``reader.read_space_points``.

    Args:
        paths: as of ``read_manifests``.
        columns: whether the columns that were kept of their files are wanted as well.

    Raises:
        EventFormatError: as of ``read_manifests``.
    """
    read = imported_with_columns if columns else read_space_points
    return {event: read(folder, event) for event, folder in read_manifests(paths).items()}


def _kinds(sums: dict[str, str]) -> Sequence[str]:
    """The files that an event must have, of those that its manifest lists."""
    return next((kinds for kinds in _KINDS if set(kinds) <= set(sums)), EVENT_FILES)


def _verify(file: Path, expected: str, manifest: Path) -> None:
    try:
        problem = None if file_sha256(file) == expected else "has changed since it was made"
    except OSError as error:
        problem = f"can't be read ({error.strerror})"
    if problem:
        raise EventFormatError(
            f"{file}: {problem}; delete {manifest} and run again to make its events anew"
        )
