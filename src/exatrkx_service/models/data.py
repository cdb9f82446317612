"""Training sample: events as plain arrays, and the augmentation of them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from exatrkx_service.events.event import Event
from exatrkx_service.events.files import EVENT_FILES, IMPORTED_FILES, event_file
from exatrkx_service.events.reader import read_event

T = TypeVar("T")
_KINDS = (*EVENT_FILES, *IMPORTED_FILES)


@dataclass(frozen=True)
class TrainingEvent:
    """One event as the training needs it.

    Attributes:
        space_points: float32 (N, 3): r [mm], phi [rad], z [mm].
        particle: int64 (N,): number of the particle that made each point, -1 for none.
        successor: int64 (N,): the next point on the same particle's track, -1 for none.
        from_hnl: bool (N,): the particle is a decay product of the heavy neutral lepton.
    """

    space_points: np.ndarray
    particle: np.ndarray
    successor: np.ndarray
    from_hnl: np.ndarray

    @property
    def truth_edges(self) -> np.ndarray:
        """int64 (2, T): pairs of consecutive points of one particle, in the order of flight."""
        start = np.flatnonzero(self.successor >= 0)
        return np.stack([start, self.successor[start]])


def to_training_event(event: Event) -> TrainingEvent:
    """Finds the consecutive points of every particle.

    The points of a particle are ordered by their distance from its production vertex in the r-z
    plane, in which a track that leaves the vertex moves steadily away from it.

    Args:
        event: an event with truth.
    """
    n = len(event)
    r, z = (event.space_points[:, column].astype(np.float64) for column in (0, 2))
    known = np.flatnonzero(event.particle_index >= 0)
    particle = event.particle_index[known]
    vr, vz, from_hnl = (event.particles[name].to_numpy() for name in ("vr", "vz", "from_hnl"))
    distance = np.hypot(r[known] - vr[particle], z[known] - vz[particle])
    order = np.lexsort((distance, particle))
    points, owner = known[order], particle[order]
    consecutive = owner[1:] == owner[:-1]
    successor = np.full(n, -1, dtype=np.int64)
    successor[points[:-1][consecutive]] = points[1:][consecutive]
    hnl = np.zeros(n, dtype=bool)
    hnl[known] = from_hnl[particle]
    return TrainingEvent(event.space_points, event.particle_index, successor, hnl)


def load_sample(events: Mapping[int, Path], cache: Path | None = None) -> list[TrainingEvent]:
    """Reads the events of a sample, in ascending order of their numbers.

    Args:
        events: folder of each event by its number; with truth.
        cache: npz file in which the arrays are kept; it is made again when the events' files have
            changed since. Reading CSV takes about 50 ms per event.

    Raises:
        EventFormatError: an event is missing or malformed.
        ValueError: there are no events, or they have no truth.
    """
    if not events:
        raise ValueError("train.n_events: no events; expected at least 2")
    events = dict(sorted(events.items()))
    fingerprint = _fingerprint(events)
    if cache is not None and (known := _read_cache(Path(cache), fingerprint)) is not None:
        return known
    sample = [to_training_event(read_event(folder, number)) for number, folder in events.items()]
    if not any((event.successor >= 0).any() for event in sample):
        raise ValueError(
            f"{next(iter(events.values()))}: a sample without truth: no particle has two space "
            f"points in any of {len(sample)} events; expected files that tell which particle made "
            "which space point"
        )
    if cache is not None:
        _write_cache(Path(cache), fingerprint, sample)
    return sample


def _fingerprint(events: Mapping[int, Path]) -> str:
    """Hash of the names, sizes and modification times of the events' files."""
    paths = (event_file(events[number], number, kind) for number in events for kind in _KINDS)
    files = [(path.name, path.stat()) for path in paths if path.exists()]
    text = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in files)
    return hashlib.sha256(text.encode()).hexdigest()


_FIELDS = ("space_points", "particle", "successor", "from_hnl")


def _read_cache(cache: Path, fingerprint: str) -> list[TrainingEvent] | None:
    if not cache.is_file():
        return None
    try:
        with np.load(cache, allow_pickle=False) as arrays:
            if str(arrays["fingerprint"]) != fingerprint:
                return None
            splits = np.cumsum(arrays["lengths"])[:-1]
            columns = [np.split(arrays[name], splits) for name in _FIELDS]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # a cache that cannot be read is made again
    return [TrainingEvent(*arrays) for arrays in zip(*columns, strict=True)]


def _write_cache(cache: Path, fingerprint: str, events: list[TrainingEvent]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    temporary = cache.with_name(cache.name + ".partial")
    arrays = {name: np.concatenate([getattr(e, name) for e in events]) for name in _FIELDS}
    lengths = np.array([len(event.space_points) for event in events])
    with temporary.open("wb") as file:
        np.savez(file, fingerprint=np.array(fingerprint), lengths=lengths, **arrays)
    temporary.replace(cache)


def split_sample(events: list[T], validation_fraction: float) -> tuple[list[T], list[T]]:
    """Splits a sample in training and validation events; the last events validate.

    Args:
        events: the events, or their numbers.
        validation_fraction: share of the validation events.

    Raises:
        ValueError: one of the two would be empty.
    """
    n_validation = round(len(events) * validation_fraction)
    if not 0 < n_validation < len(events):
        raise ValueError(
            f"train.n_events: too few: {len(events)} events with train.validation_fraction "
            f"{validation_fraction} leave {len(events) - n_validation} to train and "
            f"{n_validation} to validate; expected at least 1 of each"
        )
    return events[:-n_validation], events[-n_validation:]


def augment(
    event: TrainingEvent, others: list[TrainingEvent], rng: np.random.Generator, max_overlays: int
) -> TrainingEvent:
    """A new event: rotated and mirrored, with decays of the HNL of other events laid over it.

    Displaced tracks are a few per cent of all; overlaying shows the networks more of them.

    Args:
        event: the event.
        others: events to take HNL decays from.
        rng: source of randomness.
        max_overlays: from 0 to this many decays are added.
    """
    parts = [_move(event, rng)]
    for _ in range(int(rng.integers(0, max_overlays + 1))):
        decay = _hnl_decay(others[int(rng.integers(len(others)))])
        parts.append(_move(decay, rng))
    n_points = np.cumsum([0] + [len(part.space_points) for part in parts])
    n_particles = np.cumsum([0] + [int(part.particle.max(initial=-1)) + 1 for part in parts])
    return TrainingEvent(
        np.concatenate([part.space_points for part in parts]),
        _shifted([part.particle for part in parts], n_particles),
        _shifted([part.successor for part in parts], n_points),
        np.concatenate([part.from_hnl for part in parts]),
    )


def _shifted(indices: list[np.ndarray], offsets: np.ndarray) -> np.ndarray:
    """Joins index arrays after adding each one's offset; -1 stays."""
    pairs = zip(indices, offsets, strict=False)
    return np.concatenate([np.where(index >= 0, index + offset, -1) for index, offset in pairs])


def _move(event: TrainingEvent, rng: np.random.Generator) -> TrainingEvent:
    """Rotates an event about the beam and mirrors it in z and phi at random."""
    angle = rng.uniform(-np.pi, np.pi)
    mirror_phi, mirror_z = rng.choice([-1.0, 1.0], size=2)
    r, phi, z = event.space_points.T
    phi = np.mod(mirror_phi * phi + angle + np.pi, 2 * np.pi) - np.pi
    moved = np.stack([r, phi, mirror_z * z], axis=1).astype(np.float32)
    return TrainingEvent(moved, event.particle, event.successor, event.from_hnl)


def _hnl_decay(event: TrainingEvent) -> TrainingEvent:
    """The points of the HNL's decay products alone."""
    kept = np.flatnonzero(event.from_hnl)
    new_index = np.full(len(event.from_hnl) + 1, -1, dtype=np.int64)  # the last entry serves -1
    new_index[kept] = np.arange(len(kept))
    return TrainingEvent(
        event.space_points[kept],
        event.particle[kept],
        new_index[event.successor[kept]],
        event.from_hnl[kept],
    )


def is_true(event: TrainingEvent, edges: np.ndarray) -> np.ndarray:
    """Bool (E,): the edge, in either direction, joins consecutive points of one particle."""
    first, second = edges
    return (event.successor[first] == second) | (event.successor[second] == first)


def same_particle(event: TrainingEvent, edges: np.ndarray) -> np.ndarray:
    """Bool (E,): one particle made both points."""
    first, second = event.particle[edges]
    return (first == second) & (first >= 0)


def missing_truth(event: TrainingEvent, edges: np.ndarray) -> np.ndarray:
    """int64 (2, M): the true edges that are not among ``edges``."""
    first, second = edges
    missing = event.successor >= 0
    missing[first[event.successor[first] == second]] = False
    missing[second[event.successor[second] == first]] = False
    start = np.flatnonzero(missing)
    return np.stack([start, event.successor[start]])
