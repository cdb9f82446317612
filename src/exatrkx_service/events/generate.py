"""Make simulated events on disk: Pythia 8, HepMC3, ACTS, and a truth file of our own."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np

from exatrkx_service.events.collisions import CollisionGenerator
from exatrkx_service.events.detector import simulate
from exatrkx_service.events.files import (
    BARCODE_COLUMNS,
    EVENT_FILES,
    HNL_FILE,
    event_file,
    event_range,
)
from exatrkx_service.events.vertices import (
    Collision,
    barcodes,
    write_hepmc3_event,
    write_hepmc3_footer,
    write_hepmc3_header,
)


def generate(
    folder: Path, config: dict, first_event: int, n_events: int, *, threads: int = 1
) -> None:
    """Write events ``first_event`` to ``first_event + n_events - 1`` into a folder.

    An event's files are the same to the byte however the events are divided into calls and
    however many threads there are. They appear in ``folder`` when the whole range is finished,
    the space points of each event last.

    Args:
        folder: sample folder; made if it does not exist.
        config: the ``events`` section of the configuration.
        first_event: number of the first event, 0 or more.
        n_events: number of events.
        threads: threads of the detector simulation; Pythia runs on one.

    Raises:
        PhysicsError: the configured process is impossible.
        ValueError: the range of events is empty or starts below 0.
    """
    event_ids = event_range(first_event, n_events)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    generator = CollisionGenerator(config)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
        work = Path(name)
        hepmc3 = work / "events.hepmc3"
        with hepmc3.open("w") as file:
            write_hepmc3_header(file)
            for event_id in range(first_event):  # ACTS reads the file from event 0 on
                write_hepmc3_event(file, event_id, [])
            for event_id in event_ids:
                collisions = generator.event(event_id)
                write_hepmc3_event(file, event_id, collisions, generator.beam_gev)
                _write_hnl_file(work, event_id, collisions)
            write_hepmc3_footer(file)
        simulate(
            hepmc3,
            work,
            seed=int(np.random.SeedSequence(config["seed"]).generate_state(1)[0]),
            first_event=first_event,
            n_events=n_events,
            threads=threads,
        )
        for event_id in event_ids:
            for kind in EVENT_FILES:
                event_file(work, event_id, kind).replace(event_file(folder, event_id, kind))


def _write_hnl_file(folder: Path, event_id: int, collisions: list[Collision]) -> None:
    with event_file(folder, event_id, HNL_FILE).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*BARCODE_COLUMNS, "particle_type"])
        for barcode, particle in barcodes(collisions):
            if particle.from_hnl:
                writer.writerow([*barcode, particle.pdg])
