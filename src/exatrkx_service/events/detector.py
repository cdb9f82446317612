"""Detector simulation with ACTS: from a HepMC3 file to hits, measurements and space points."""

from __future__ import annotations

import functools
from pathlib import Path

import acts
import acts.examples
import acts.examples.hepmc3 as acts_hepmc3
from acts.examples.simulation import addDigitization, addFatras

FIELD_TESLA = 2.0
# Fatras stops below this momentum; the default of ACTS. With it the event sizes are those of the
# sample that Exa.TrkX as a service was measured on: median 1,243, mean 1,321 space points.
P_MIN_GEV = 0.5
# Pixels, short strips and long strips of the generic detector: end cap, barrel, end cap each.
SENSITIVE_VOLUMES = (7, 8, 9, 12, 13, 14, 16, 17, 18)
DIGITIZATION_FILE = Path(__file__).with_name("digitization.json")
_LEVEL = acts.logging.WARNING


@functools.cache
def generic_detector() -> acts.examples.GenericDetector:
    """The ACTS generic detector (that of the TrackML challenge), with its material."""
    return acts.examples.GenericDetector(logLevel=_LEVEL)


def magnetic_field() -> acts.ConstantBField:
    """The solenoidal field of the detector: ``FIELD_TESLA`` along z."""
    return acts.ConstantBField(acts.Vector3(0, 0, FIELD_TESLA * acts.UnitConstants.T))


def make_sequencer(
    first_event: int, n_events: int, threads: int, level: acts.logging.Level
) -> acts.examples.Sequencer:
    """An ACTS sequencer over events ``first_event`` to ``first_event + n_events - 1``."""
    return acts.examples.Sequencer(
        events=n_events,
        skip=first_event,
        numThreads=threads,
        logLevel=level,
        trackFpes=False,
        outputDir="",
    )


def simulate(
    hepmc3: Path,
    folder: Path,
    *,
    seed: int,
    first_event: int,
    n_events: int,
    threads: int,
) -> None:
    """Simulate events ``first_event`` to ``first_event + n_events - 1`` of a HepMC3 file.

    Fatras (fast simulation: multiple scattering, energy loss, photon conversion) in a solenoidal
    field of 2 T, Gaussian smearing of the hits, one space point per measurement. ACTS seeds its
    random numbers per algorithm and event number, so the result does not depend on the range
    of events or the number of threads.

    Args:
        hepmc3: file whose i-th event has the number i, from 0.
        folder: existing folder for the CSV files.
        seed: seed of the ACTS random numbers.
        first_event: events before it are skipped.
        n_events: number of events to simulate.
        threads: threads of the ACTS sequencer.
    """
    geometry = generic_detector().trackingGeometry()
    field = magnetic_field()
    random = acts.examples.RandomNumbers(seed=seed)
    sequencer = make_sequencer(first_event, n_events, threads, _LEVEL)
    sequencer.addReader(
        acts_hepmc3.HepMC3Reader(
            level=_LEVEL,
            inputPath=hepmc3,
            outputEvent="hepmc3_event",
            numEvents=first_event + n_events,
            checkEventNumber=True,
            maxEventBufferSize=n_events + 1,
        )
    )
    sequencer.addAlgorithm(
        acts_hepmc3.HepMC3InputConverter(
            level=_LEVEL,
            inputEvent="hepmc3_event",
            outputParticles="particles_generated",
            outputVertices="vertices_generated",
            mergePrimaries=False,
            mergeSecondaries=False,
        )
    )
    addFatras(
        sequencer,
        geometry,
        field,
        random,
        pMin=P_MIN_GEV * acts.UnitConstants.GeV,
        inputParticles="particles_generated",
        outputDirCsv=folder,
        logLevel=_LEVEL,
    )
    addDigitization(
        sequencer,
        geometry,
        field,
        digiConfigFile=DIGITIZATION_FILE,
        outputDirCsv=folder,
        rnd=random,
        logLevel=acts.logging.ERROR,  # it warns of every hit on a sensor's edge
    )
    sequencer.addAlgorithm(
        acts.examples.SpacePointMaker(
            level=_LEVEL,
            trackingGeometry=geometry,
            inputMeasurements="measurement_subset",
            outputSpacePoints="spacepoints",
            geometrySelection=[
                acts.GeometryIdentifier(volume=volume) for volume in SENSITIVE_VOLUMES
            ],
        )
    )
    sequencer.addWriter(
        acts.examples.CsvSpacePointWriter(
            level=_LEVEL, inputSpacePoints="spacepoints", outputDir=str(folder)
        )
    )
    sequencer.run()
