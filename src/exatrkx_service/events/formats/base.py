"""What all formats of events share: the interface, and the files of a folder."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from exatrkx_service.events.event import Event
from exatrkx_service.events.tables import EventFormatError

_SHOWN = 5  # names of files in a message


class Format(ABC):
    """The events of one format in a folder.

    Args:
        folder: the folder.
        settings: the section of the configuration that is named like the format; may be empty.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder, self.settings = folder, settings

    @abstractmethod
    def files(self) -> dict[int, tuple[Path, ...]]:
        """The files of each event, by its number, in ascending order; the space points' first.

        Looks at the names of files alone where they say it.

        Raises:
            EventFormatError: there is no event, or one is there twice.
        """

    @abstractmethod
    def has_truth(self) -> bool:
        """Whether there are files that say which particles made the space points."""

    @abstractmethod
    def read(self, event: int) -> Event:
        """One event; with its truth if ``has_truth``.

        Raises:
            EventFormatError: a file is missing or malformed; names it, and the line and column.
        """


def find_files(folder: Path, pattern: str, expected: str) -> dict[int, dict[str, Path]]:
    """The files of each event in a folder, by the event's number and by kind.

    Args:
        folder: the folder.
        pattern: of a file's whole name without ``.gz``, a regular expression with the groups
            ``event`` (digits) and ``kind``.
        expected: what was expected, for messages.

    Returns:
        In ascending order of the events.

    Raises:
        EventFormatError: no such folder, no such file in it, or two for one event and kind.
    """
    found: dict[int, dict[str, Path]] = {}
    for path in list_files(folder, expected):
        match = re.fullmatch(pattern, path.name.removesuffix(".gz"))
        if match is None:
            continue
        require_file(path)
        files = found.setdefault(int(match["event"]), {})
        if match["kind"] in files:
            raise EventFormatError(
                f"{path}: the {match['kind']} of event {int(match['event'])} are in "
                f"{files[match['kind']].name} as well; expected each event once"
            )
        files[match["kind"]] = path
    if not found:
        raise EventFormatError(f"{folder}: expected {expected}; found {shown_files(folder)}")
    return dict(sorted(found.items()))


def list_files(folder: Path, expected: str) -> list[Path]:
    """What is in a folder, by name; see ``require_file`` for what is to be read.

    Raises:
        EventFormatError: it is no folder, or can't be read.
    """
    try:
        if folder.is_dir():
            return sorted(folder.iterdir())
        what = "not a folder" if folder.exists() else "no such folder"
        raise EventFormatError(f"{folder}: {what}; expected one with {expected}")
    except OSError as error:
        raise EventFormatError(f"{folder}: can't be read ({error.strerror})") from None


def require_file(path: Path) -> None:
    """Raises for what has the name of an event's file and can't be read: it is not left out.

    Raises:
        EventFormatError: a folder, a link to nothing, or a name that is no text.
    """
    try:
        path.name.encode()
        problem = None if path.is_file() else "no file, or a link to none"
    except (OSError, UnicodeEncodeError) as error:
        problem = getattr(error, "strerror", None) or "its name is not UTF-8"
    if problem:
        raise EventFormatError(
            f"{os.fsencode(path).decode(errors='replace')}: {problem}; expected a file"
        )


def shown_files(folder: Path) -> str:
    """Some names of what is in a folder, for a message."""
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) + more) or "nothing"


def require_event(folder: Path, event: int, events: Collection[int]) -> None:
    """Raises for an event that is not in the folder.

    Args:
        folder: the folder.
        event: the one that is wanted.
        events: those that are there, at least one.

    Raises:
        EventFormatError: it is not one of them.
    """
    if event not in events:
        raise EventFormatError(
            f"{folder}: no event {event}; found {len(events)}, from {min(events)} to {max(events)}"
        )
