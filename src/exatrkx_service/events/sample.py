"""The sample that is measured: events from elsewhere are taken in, and any sample is described."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from exatrkx_service.events.event import Event
from exatrkx_service.events.files import IMPORTED_FILES
from exatrkx_service.events.formats import open_events
from exatrkx_service.events.formats.base import Format
from exatrkx_service.events.imported import is_known, write_imported
from exatrkx_service.events.manifest import read_manifests, read_sample, write_manifest
from exatrkx_service.events.reader import read_event
from exatrkx_service.events.tables import EventFormatError
from exatrkx_service.identity import file_state, identify

SOURCE_FILE = "source.json"  # beside the manifest of events that were taken in


@dataclass(frozen=True)
class Source:
    """Where the events of a sample are from.

    Attributes:
        files: of each event by its number.
        truth: whether the truth is known.
        plan: see ``planned``.
        gone: whether the folder is gone or empty: this is what was taken in.
    """

    files: Mapping[int, Sequence[Path]]
    truth: bool
    plan: str
    gone: bool = False


def own_files(settings: Mapping[str, Any]) -> tuple[dict[int, tuple[Path, ...]], bool]:
    """What there is to take in, by the names of files where these say it.

    Args:
        settings: the section ``events`` or ``train`` of the configuration.

    Returns:
        The files of ``n_events`` events by number, the first or those after the first ``skip``, and
        whether the truth is known.

    Raises:
        EventFormatError: the folder or its events are missing.
    """
    return _own_files(open_events(settings), settings)


def _own_files(
    events: Format, settings: Mapping[str, Any]
) -> tuple[dict[int, tuple[Path, ...]], bool]:
    every, skip = events.files(), settings.get("skip", 0)
    files = dict(islice(every.items(), skip, skip + settings["n_events"]))
    if not files:
        raise EventFormatError(
            f"{settings['path']}: {len(every)} events, of which {skip} are skipped; expected more"
        )
    for path in (path for paths in files.values() for path in paths):
        if set(str(path)) & set("{}"):
            raise EventFormatError(
                f"{path}: braces in its name, which Snakemake takes for those of a wildcard; "
                "expected a name without"
            )
    return files, events.has_truth()


def planned(files: Mapping[int, Sequence[Path]], truth: bool) -> str:
    """What there is to take in, as a digest: of names, numbers, sizes, times and places.

    Args:
        files: as of ``own_files``.
        truth: likewise.

    Raises:
        EventFormatError: a file is not there any more.
    """
    found = [(truth,)]
    for number, paths in files.items():
        for path in paths:
            try:
                found.append((number, str(path), *file_state(path)))
            except OSError as error:
                raise EventFormatError(f"{path}: can't be read ({error.strerror})") from None
    return hashlib.sha256(repr(found).encode()).hexdigest()


def look(settings: Mapping[str, Any], manifest: Path) -> Source:
    """Looks at what there is to take in, or what was: a finished run needs its folder no more.

    Args:
        settings: as of ``own_files``.
        manifest: of the events that were taken in, if they were.

    Raises:
        EventFormatError: as of ``own_files`` and ``planned``.
    """
    if _is_gone(Path(settings["path"]).expanduser()) and (known := _recorded(manifest, settings)):
        return known
    files, truth = own_files(settings)
    return Source(files, truth, planned(files, truth))


def _is_gone(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())  # a disk that is not mounted leaves an empty one
    except FileNotFoundError:
        return True
    except OSError:  # it is there, and the reader says what is wrong with it
        return False


def _recorded(manifest: Path, settings: Mapping[str, Any]) -> Source | None:
    """What ``take_in`` wrote of where its events are from, if it was for these settings."""
    try:
        made = json.loads(manifest.read_text(encoding="utf-8"))["settings"]
        source = json.loads(manifest.with_name(SOURCE_FILE).read_text(encoding="utf-8"))
        files = {int(n): tuple(map(Path, paths)) for n, paths in source["files"].items()}
        others = {key: value for key, value in made.items() if key != "n_events"}
        if others == {key: settings.get(key) for key in others} and (
            len(files) <= settings["n_events"]
        ):
            return Source(files, source["truth"], source["plan"], gone=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # as if there were none
    return None


def take_in(
    manifest: Path,
    settings: Mapping[str, Any],
    code_sha256: str,
    plan: str,
    measured: Iterable[Path | str] = (),
) -> None:
    """Reads and checks events from elsewhere, and writes them and their manifest.

    Args:
        manifest: its folder gets the events, and where they are from (``SOURCE_FILE``), and loses
            what it held.
        settings: the section ``events`` or ``train`` of the configuration, as far as it is about
            them.
        code_sha256: digest of the code that does this.
        plan: see ``planned``.
        measured: manifests of a sample that must be apart from this one, see ``check_apart``.

    Raises:
        EventFormatError: a file is missing or malformed, holds what can't be, an event is in
            two of them, or there are others than planned; names it. Nothing is written then.
    """
    reader = open_events(settings)
    files, truth = _own_files(reader, settings)
    if planned(files, truth) != plan:
        raise EventFormatError(
            f"{settings['path']}: files came, went or changed since the run was planned; run again"
        )
    events, seen = [], {}
    for number, paths in files.items():
        event = reader.read(number)
        _check(paths[0], event)
        content = event.space_points.tobytes()
        if content and (other := seen.setdefault(content, number)) != number:
            raise EventFormatError(
                f"{paths[0]}: event {number} has the same space points as event {other} of "
                f"{files[other][0]}; expected each event once"
            )
        events.append(event)
    check_apart({event.event_id: event.space_points for event in events}, read_sample(measured))
    for kind in IMPORTED_FILES:
        for file in manifest.parent.glob(f"event*-{kind}.parquet"):
            file.unlink()
    for event in events:
        write_imported(manifest.parent, event, truth=truth)
    source = {"plan": plan, "truth": truth, "files": {n: [*map(str, f)] for n, f in files.items()}}
    manifest.with_name(SOURCE_FILE).write_text(json.dumps(source, indent=1) + "\n")
    kinds = IMPORTED_FILES if truth else IMPORTED_FILES[-1:]
    write_manifest(manifest, dict(settings), files, code_sha256, kinds)


def check_apart(training: Mapping[int, np.ndarray], measured: Mapping[int, np.ndarray]) -> None:
    """Checks that no event to train on is one that is measured.

    Args:
        training: space points of each event by its number.
        measured: likewise.

    Raises:
        EventFormatError: one has the space points of the other.
    """
    known = {points.tobytes(): number for number, points in measured.items() if len(points)}
    for number, points in training.items():
        if (other := known.get(points.tobytes())) is not None:
            raise EventFormatError(
                f"train.path: event {number} has the same space points as event {other} of "
                "events.path; expected others to train on than those that are measured"
            )


def check_training(
    training: Mapping[str, Any],
    numbers: Iterable[int],
    measured: Mapping[str, Any],
    measured_numbers: Collection[int],
) -> None:
    """The same from the names of folders alone, before any event is read.

    Args:
        training: the section ``train`` of the configuration; events from elsewhere.
        numbers: of its events.
        measured: the section ``events``, likewise.
        measured_numbers: of its events.

    Raises:
        EventFormatError: both take an event of one folder.
    """
    folders = [Path(section["path"]).expanduser().resolve() for section in (training, measured)]
    both = sorted(set(numbers) & set(measured_numbers))
    if folders[0] == folders[1] and both:
        raise EventFormatError(
            f"train.path: {training['path']} is events.path as well, and {len(both)} of its events "
            f"(from {both[0]} to {both[-1]}) would be both trained on and measured; expected "
            f"train.skip: {len(measured_numbers)} (events.n_events), or another folder"
        )


def describe(manifests: Sequence[Path | str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a sample holds, for people.

    Args:
        manifests: of its events.
        settings: the section ``events`` of the configuration.

    Returns:
        ``events_sha256`` (see ``identity.identify``), ``source``, ``path`` (None if generated),
        ``n_events``, ``first_event``, ``last_event``, ``truth`` (bool); ``space_points`` (of an
        event: ``mean``, ``min``, ``max``), ``r_mm``, ``phi_rad`` and ``z_mm`` (``min``, ``max``;
        None without space points); and where the truth is known ``particles_mean`` and
        ``matched``, the share of space points that a particle made.
    """
    folders = read_manifests(manifests)
    events = [read_event(folder, number) for number, folder in folders.items()]
    truth = all(is_known(folder, number) for number, folder in folders.items())
    sizes = [len(event) for event in events]
    points = np.concatenate([event.space_points for event in events])
    found = {
        "events_sha256": identify(manifests, {})["events_sha256"],
        "source": settings["source"],
        "path": settings.get("path"),
        "n_events": len(events),
        "first_event": events[0].event_id,
        "last_event": events[-1].event_id,
        "truth": truth,
        "space_points": {
            "mean": float(np.mean(sizes)),
            "min": min(sizes),
            "max": max(sizes),
        },
    }
    for name, column in zip(("r_mm", "phi_rad", "z_mm"), points.T, strict=True):
        ends = [float(column.min()), float(column.max())] if len(column) else [None, None]
        found[name] = dict(zip(("min", "max"), ends, strict=True))
    if truth:
        indices = np.concatenate([event.particle_index for event in events])
        found["particles_mean"] = float(np.mean([len(event.particles) for event in events]))
        found["matched"] = float((indices >= 0).mean()) if len(indices) else None
    return found


def _check(path: Path, event: Event) -> None:
    """The last line of defence: what no format may give."""
    r, phi, z = event.space_points.T
    good = np.isfinite(r) & np.isfinite(z) & (r >= 0) & (np.abs(phi) <= np.float32(np.pi))
    if not good.all():
        row = int(np.argmin(good))
        raise EventFormatError(
            f"{path}: space point {row + 1}: r {r[row]:g} mm, phi {phi[row]:g} rad, z {z[row]:g} "
            "mm; expected r of at least 0, phi in (-pi, pi] and finite numbers"
        )
